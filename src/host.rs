//! This machine, as far as it concerns us: what the kernel says about limits, routes, disks, memory and clock, and the
//! rules of its firewall.

use std::{
    io,
    net::Ipv4Addr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
};

use ipnet::Ipv4Net;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most descriptors for things other than connections: the sandboxes' listeners, the database, the engine.
const DESCRIPTORS_BESIDE: u64 = 4_096;

/// The most connections that a gate needs.
const AT_A_GATE: u64 = 1_024;

/// How many connections each part of the server may have, so that none takes the descriptors of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The API.
    pub api: u64,
    /// The check-in door.
    pub door: u64,
    /// The sandboxes' ports.
    pub relay: u64,
}

/// The room within a limit on descriptors. A connection takes three at a gate, two in the relay, which has half of all
/// at least.
pub fn room(descriptors: u64) -> Room {
    let gate = (descriptors / 48).min(AT_A_GATE);
    let beside = (DESCRIPTORS_BESIDE + 6 * gate).min(descriptors / 2);
    Room { api: gate, door: gate, relay: (descriptors - beside) / 2 }
}

/// The highest limit on descriptors that this process may set; `None`: no limit.
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Has the system get big blocks of memory back as soon as they are free. Without this glibc learns from the first
/// password's hash, of 19 MiB, to keep blocks of that size for later, in each thread.
pub fn return_big_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number that malloc reads, before there are other threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// What this process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes of memory that are resident.
    pub resident: u64,
    /// Descriptors that are open.
    pub descriptors: u64,
    /// Descriptors that it may have.
    pub descriptors_limit: u64,
}

/// What this process uses. What the kernel does not tell is 0.
pub fn process() -> Process {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or_default();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let descriptors_limit = getrlimit(Resource::Nofile).current.unwrap_or_default();
    Process { resident: pages * rustix::param::page_size() as u64, descriptors, descriptors_limit }
}

/// Raises this process's limit on descriptors as far as it may. Returns the limit then, `None` if there is none, and
/// why it was not raised.
pub fn raise_descriptors() -> (Option<u64>, io::Result<()>) {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    (getrlimit(Resource::Nofile).current, raised.map_err(io::Error::from))
}

/// The kernel's range for outgoing connections, if it contains ports of `range` that are not reserved.
pub fn lost_to_clients(range: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    overlap(range, &read("ip_local_port_range"), &read("ip_local_reserved_ports"))
}

fn overlap(range: &RangeInclusive<u16>, clients: &str, reserved: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = clients.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let clients = ends.next()?..=ends.next()?;
    let reserved: Vec<_> = reserved.trim().split(',').filter_map(ports).collect();
    let lost = |port: &u16| clients.contains(port) && !reserved.iter().any(|r| r.contains(port));
    range.clone().any(|port| lost(&port)).then_some(clients)
}

/// `80` or `80-90`.
fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some(low.parse().ok()?..=high.parse().ok()?)
}

/// A route of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads to.
    pub to: Ipv4Net,
    /// The interface.
    pub by: String,
}

/// The IPv4 routes, without default routes.
pub fn routes() -> io::Result<Vec<Route>> {
    Ok(routes_in(&std::fs::read_to_string("/proc/net/route")?))
}

fn routes_in(table: &str) -> Vec<Route> {
    // The file has addresses in the machine's own byte order.
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let to = Ipv4Net::with_netmask(address(words.get(1)?)?, address(words.get(7)?)?).ok()?;
        Some(Route { to, by: (*words.first()?).to_owned() }).filter(|r| r.to.prefix_len() > 0)
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// A file system's space in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// What users other than root may take.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// The file system on which `path` is, or will be once it is made.
pub fn disk(path: &Path) -> io::Result<Disk> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(&path);
    let shown = rustix::fs::statvfs(there)?;
    Ok(Disk { free: shown.f_bavail * shown.f_frsize, total: shown.f_blocks * shown.f_frsize })
}

/// A mounted file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// Its kind, such as `ext4`.
    pub kind: String,
    /// How it is mounted, in the kernel's words.
    pub options: String,
}

/// The mount on which `path` is.
pub fn mount(path: &Path) -> io::Result<Mount> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    mount_in(&table, &path.canonicalize()?).ok_or_else(|| io::Error::other("it is on no mount that is shown"))
}

fn mount_in(table: &str, path: &Path) -> Option<Mount> {
    let mount = |line: &str| {
        let (place, what) = line.split_once(" - ")?;
        let at = PathBuf::from(place.split(' ').nth(4)?.replace("\\040", " "));
        let mut what = what.split(' ');
        let (kind, _, options) = (what.next()?, what.next()?, what.next()?);
        path.starts_with(&at).then(|| (at, Mount { kind: kind.to_owned(), options: options.to_owned() }))
    };
    // If two are mounted at one place, the later one is seen.
    let deepest = table.lines().filter_map(mount).max_by_key(|(at, _)| at.components().count());
    deepest.map(|(_, mount)| mount)
}

/// The machine's memory in bytes.
pub fn memory() -> Option<u64> {
    let shown = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes: u64 =
        shown.lines().find_map(|l| l.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

/// A number of the kernel's, such as `fs.file-max`.
///
/// # Errors
/// If it is not there, or is no number.
pub fn kernel(name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))?;
    text.trim().parse().map_err(io::Error::other)
}

/// Whether a time service keeps the clock, as the kernel was told.
pub fn is_clock_kept() -> io::Result<bool> {
    // SAFETY: all zeroes is a valid `timex` that asks for no change.
    let mut shown: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes only into the struct that it is given.
    match unsafe { libc::adjtimex(&raw mut shown) } {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(state != libc::TIME_ERROR && shown.status & libc::STA_UNSYNC == 0),
    }
}

/// The rules of the firewall that may be in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// Whether incoming traffic is dropped unless a rule lets it in.
    pub is_shut: bool,
    /// The rules that drop or reject incoming traffic.
    pub rules: Vec<String>,
    /// The rules that an administrator has put before Docker's own.
    pub docker_user: Vec<String>,
}

/// Who manages the firewall. Everybody may know that.
pub fn firewall_manager() -> Option<&'static str> {
    let ufw = std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    if ufw.lines().any(|l| l.trim().eq_ignore_ascii_case("ENABLED=yes")) {
        return Some("ufw");
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut names = processes.filter_map(|p| std::fs::read_to_string(p.path().join("comm")).ok());
    names.any(|name| name.trim() == "firewalld").then_some("firewalld")
}

/// The firewall. Only root can see it.
pub async fn firewall() -> io::Result<Firewall> {
    let mut command = tokio::process::Command::new("iptables");
    command.args(["--wait", "2", "-S"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| io::Error::other(format!("iptables cannot be run: {e}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(match why.trim().lines().last().unwrap_or_default() {
            denied if denied.contains("Permission denied") => "only root is shown the rules".to_owned(),
            other => format!("iptables does not show the rules: {other}"),
        }));
    }
    Ok(rules_in(&String::from_utf8_lossy(&output.stdout)))
}

fn rules_in(text: &str) -> Firewall {
    let shuts = |l: &&str| l.contains("-j DROP") || l.contains("-j REJECT");
    let of = |chain: &str| {
        let lines = text.lines().filter(|l| l.strip_prefix("-A ").is_some_and(|l| l.split(' ').next() == Some(chain)));
        lines.filter(shuts).map(str::to_owned).collect()
    };
    Firewall { is_shut: text.lines().any(|l| l == "-P INPUT DROP"), rules: of("INPUT"), docker_user: of("DOCKER-USER") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_takes_the_descriptors_of_another() {
        assert_eq!(room(65_536), Room { api: 1_024, door: 1_024, relay: 27_648 });
        for limit in [0, 64, 256, 1_024, 20_000, 1 << 20] {
            let Room { api, door, relay } = room(limit);
            let left = limit - 3 * (api + door) - 2 * relay;
            assert!(left >= DESCRIPTORS_BESIDE.min(limit / 4) && api == door, "{limit}: {left} are left");
            assert!(relay >= limit / 4, "{limit}");
        }
    }

    #[test]
    fn ports_that_are_reserved_are_not_lost() {
        let clients = "32768\t60999\n";
        assert_eq!(overlap(&(20_000..=29_999), clients, "\n"), None);
        assert_eq!(overlap(&(30_000..=32_768), clients, "\n"), Some(32_768..=60_999));
        assert_eq!(overlap(&(30_000..=33_000), clients, "8080,32768-33000\n"), None);
        assert_eq!(overlap(&(30_000..=33_001), clients, "8080,32768-33000\n"), Some(32_768..=60_999));
        assert_eq!(overlap(&(1..=2), "", ""), None);
    }

    #[test]
    fn the_kernels_table_of_routes_is_read() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let expected = Route { to: "192.168.0.0/24".parse().unwrap(), by: "eth0".into() };
        assert_eq!(routes_in(table), [expected]);
    }

    #[test]
    fn the_deepest_mount_is_the_one() {
        let table = "22 1 254:0 / / rw,relatime - ext4 /dev/root rw,errors=remount-ro\n\
                     23 22 0:5 / /var/lib/docker\\040two rw shared:1 - xfs /dev/vdb rw,prjquota\n";
        assert_eq!(mount_in(table, Path::new("/var/lib")).unwrap().kind, "ext4");
        let mount = mount_in(table, Path::new("/var/lib/docker two/overlay2")).unwrap();
        assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("xfs", "rw,prjquota"));
    }

    #[test]
    fn what_is_shut_is_seen() {
        let text = "-P INPUT DROP\n-P FORWARD DROP\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -j REJECT\n\
                    -A INPUTX -j DROP\n-A DOCKER-USER -j RETURN\n-A DOCKER-USER -i eth0 -j DROP\n";
        let firewall = rules_in(text);
        assert!(firewall.is_shut);
        assert_eq!(firewall.rules, ["-A INPUT -s 10.0.0.0/8 -j REJECT"]);
        assert_eq!(firewall.docker_user, ["-A DOCKER-USER -i eth0 -j DROP"]);
        assert!(!rules_in("-P INPUT ACCEPT\n").is_shut);
    }

    #[test]
    fn this_machine_answers() {
        assert!(memory().unwrap() > 0);
        assert!(disk(Path::new("/no/such/directory/file")).unwrap().total > 0);
        assert!(!mount(Path::new("/")).unwrap().kind.is_empty());
        assert!(routes().is_ok() && is_clock_kept().is_ok());
    }
}
