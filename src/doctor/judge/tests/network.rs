//! Tests what can be wrong with addresses, places, ports and the way to the check-in door.

use std::time::Duration;

use super::*;

#[test]
fn the_subnet_must_be_ours() {
    let with = |networks: Vec<Network>| only("subnet", &["routes"], &[], move |f| f.networks = Ok(networks));
    is(&with(vec![]), Status::Ok, "10.213.0.0/22, 1,021 addresses", "");
    is(
        &with(vec![network("other", "10.213.2.0/24", None)]),
        Status::Fail,
        "network other",
        "SPINDLE_SUBNET=10.64.0.0/22",
    );
    is(&with(vec![network("spindle", "10.213.0.0/22", None)]), Status::Fail, "is not Spindle's", "SPINDLE_DEPLOYMENT");
    let other = network("spindle", "10.99.0.0/24", Some("spindle"));
    is(&with(vec![other]), Status::Fail, "10.99.0.0/24, and SPINDLE_SUBNET says", "SPINDLE_SUBNET=10.99.0.0/24");
}

#[test]
fn no_route_may_lead_elsewhere() {
    let to = |net: &'static str| {
        only("routes", &[], &[], move |f| {
            f.routes.as_mut().unwrap().push(Route { to: net.parse().unwrap(), by: "tun0".into() });
        })
    };
    is(&to("10.213.1.0/24"), Status::Fail, "10.213.1.0/24 leads to tun0", "SPINDLE_SUBNET=10.64.0.0/22");
    is(&to("10.213.0.0/22"), Status::Fail, "tun0", "SPINDLE_SUBNET=");
    // The subnet that is proposed must not overlap with it either.
    is(&to("10.0.0.0/8"), Status::Warn, "10.0.0.0/8 leads to tun0", "SPINDLE_SUBNET=172.16.0.0/22");
    is(&to("192.168.0.0/16"), Status::Ok, "", "");
}

#[test]
fn a_bridge_has_1023_places() {
    let taken = |n| only("bridge", &[], &[], move |f| f.on_bridge = Ok(Some(n)));
    is(&taken(919), Status::Ok, "919 of 1,023 places taken", "");
    is(&taken(930), Status::Warn, "930", "SPINDLE_DEPLOYMENT");
    is(&taken(1_023), Status::Fail, "1,023", "SPINDLE_DEPLOYMENT");
    is(&only("bridge", &[], &[], |f| f.on_bridge = Ok(None)), Status::Ok, "0 of", "");
}

#[test]
fn ports_must_be_out_of_the_way_and_enough() {
    let found = only("port range", &[], &[], |f| f.clients = Some((16_000, 60_999)));
    is(&found, Status::Warn, "16000-60999", "net.ipv4.ip_local_reserved_ports=20000-29999");
    let few = |range: &'static str| only("ports left", &[], &[("PORT_RANGE", range)], |_| {});
    is(&few("20000-20019"), Status::Ok, "18 of 20, enough for 9 more sandboxes", "");
    is(&few("20000-20002"), Status::Fail, "1 of 3, enough for 0 more", "SPINDLE_PORT_RANGE");
    let nearly = only("ports left", &[], &[("PORT_RANGE", "20000-20099")], |f| {
        f.sandboxes = Ok((20_000..20_092).map(|p| Shown { ports: vec![p], ..Shown::default() }).collect());
    });
    is(&nearly, Status::Warn, "8 of 100, enough for 8 more", "SPINDLE_PORT_RANGE");
}

fn unreached(facts: &mut Facts) {
    facts.trial = Ok(Some(trial(Some(Answer::Nobody("no answer within 2 s".into())))));
}

#[test]
fn a_door_that_is_not_reached_is_behind_a_firewall() {
    let found = only("check-in", &[], &[], unreached);
    let fix = "iptables -I INPUT -s 10.213.0.0/22 -d 10.213.0.1 -p tcp --dport 80 -j ACCEPT";
    is(&found, Status::Fail, "10.213.0.1:80 is not reached from inside a container: no answer within 2 s", fix);
    let managed = |by: &'static str| {
        only("check-in", &[], &[("CHECK_IN_PORT", "8081")], move |f| {
            unreached(f);
            f.firewall_manager = Some(by);
        })
    };
    is(&managed("ufw"), Status::Fail, "", "ufw allow from 10.213.0.0/22 to 10.213.0.1 port 8081 proto tcp");
    is(&managed("firewalld"), Status::Fail, "", "firewall-cmd --permanent");
}

#[test]
fn a_door_at_which_another_program_stands_or_nobody() {
    let stranger = only("check-in", &["firewall"], &[], |f| {
        f.trial = Ok(Some(trial(Some(Answer::Stranger("HTTP/1.1 200 OK".into())))));
    });
    is(&stranger, Status::Fail, "somebody else answers at 10.213.0.1:80: HTTP/1.1 200 OK", "SPINDLE_CHECK_IN_PORT");
    let shut = only("check-in", &["server"], &[], |f| {
        unreached(f);
        f.server.as_mut().unwrap().door_is_open = false;
    });
    is(&shut, Status::Fail, "the door is not open", "the server");
}

#[test]
fn what_cannot_be_tried_is_not_said_to_be_well() {
    let no_image = only("check-in", &[], &[], |f| f.trial = Ok(None));
    is(&no_image, Status::Unseen, "no image", "make images");
    let no_network = only("check-in", &[], &[], |f| f.trial = Ok(Some(trial(None))));
    is(&no_network, Status::Unseen, "network", "");
    let late = |f: &mut Facts| {
        f.trial = Err(EngineError::Timeout { call: "trial of a container", deadline: Duration::from_secs(7) });
    };
    is(&only("check-in", &["limits"], &[], late), Status::Unseen, "7 s", "");
    let refused = |f: &mut Facts| f.trial = Err(EngineError::Refused("no space left on device".into()));
    is(&only("check-in", &["limits"], &[], refused), Status::Fail, "no space left", "journalctl -u docker");
}

#[test]
fn what_stands_in_the_firewall_matters_where_the_door_was_not_reached() {
    let shut = Firewall { is_shut: true, ..Firewall::default() };
    let reached = only("firewall", &[], &[], |f| f.firewall = Ok(shut.clone()));
    is(&reached, Status::Ok, "not in the way", "");
    let untried = only("firewall", &["check-in"], &[], |f| {
        (f.firewall, f.trial) = (Ok(shut.clone()), Ok(None));
    });
    is(&untried, Status::Warn, "INPUT drops what no rule lets in", "iptables -I INPUT");
    let rules = Firewall { rules: vec!["-A INPUT -j REJECT".into()], ..Firewall::default() };
    let found = only("firewall", &["check-in"], &[], |f| {
        unreached(f);
        f.firewall = Ok(rules);
    });
    is(&found, Status::Warn, "rules that drop", "iptables -I INPUT");
    let hidden = only("firewall", &["check-in"], &[], |f| {
        (f.firewall, f.trial) = (Err("only root is shown the rules".into()), Ok(None));
    });
    is(&hidden, Status::Unseen, "only root", "as root");
    let before_docker = Firewall { docker_user: vec!["-A DOCKER-USER -j DROP".into()], ..Firewall::default() };
    let found = only("firewall", &[], &[], |f| f.firewall = Ok(before_docker));
    is(&found, Status::Warn, "-A DOCKER-USER -j DROP", "iptables -S DOCKER-USER");
}
