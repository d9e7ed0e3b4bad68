//! The whole product on a real Docker Engine: the real binary, real clients, real faults.

mod support;

mod e2e {
    mod by_hand;
    mod change;
    mod clients;
    mod clock;
    mod crash;
    mod cron;
    mod disk;
    mod doctor;
    mod ended;
    mod faults;
    mod hygiene;
    mod idle;
    mod inside;
    mod keys;
    mod lab_images;
    mod labs;
    mod metrics;
    mod once;
    mod outage;
    mod period;
    mod ports;
    mod private_engine;
    mod programs;
    mod pull;
    mod records;
    mod relay_address;
    mod relay_data;
    mod relay_evidence;
    mod relay_http;
    mod relay_limits;
    mod relay_process;
    mod relay_stop;
    mod relay_wake;
    mod sessions;
    mod shutdown;
    mod siege;
    mod slow;
    mod start_up;
    mod terminal;
    mod tls;
    mod walk_through;
}
