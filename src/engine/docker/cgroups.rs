//! What the kernel counts of a container's processes, in the files of control groups of either version.

use std::time::Duration;

use crate::{domain::ContainerId, engine::Figures};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The figures of the container whose first process is `pid`; `None` if this machine does not show them, or shows
/// another's.
pub fn figures(container: &ContainerId, pid: u32) -> Option<Figures> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if !groups.contains(container.as_str()) {
        return None;
    }
    let read = |controller: &str, file: &str| {
        let folder = folder(&groups, controller)?;
        std::fs::read_to_string(format!("{ROOT}/{folder}/{file}")).ok()
    };
    let net = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok();
    counted(read, net.as_deref())
}

/// The folder below the root in which a controller counts.
fn folder(groups: &str, controller: &str) -> Option<String> {
    let lines = || groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let old = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    let one = || lines().find(|(names, _)| names.is_empty()).map(|(_, path)| path.trim_start_matches('/').to_owned());
    old.map_or_else(one, |(_, path)| Some(format!("{controller}{path}")))
}

/// Reads the files: first those of the one hierarchy, then those of the old ones.
fn counted(read: impl Fn(&str, &str) -> Option<String>, net: Option<&str>) -> Option<Figures> {
    let number = |controller, file| read(controller, file)?.trim().parse::<u64>().ok();
    let field = |text: Option<String>, key: &str| {
        text?.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
    };
    let cpu = field(read("cpuacct", "cpu.stat"), "usage_usec").map(Duration::from_micros);
    let cpu = cpu.or_else(|| number("cpuacct", "cpuacct.usage").map(Duration::from_nanos))?;
    let (used, stat) = match number("memory", "memory.current") {
        Some(used) => (used, field(read("memory", "memory.stat"), "inactive_file ")),
        None => {
            (number("memory", "memory.usage_in_bytes")?, field(read("memory", "memory.stat"), "total_inactive_file "))
        }
    };
    let limit = number("memory", "memory.max").or_else(|| number("memory", "memory.limit_in_bytes"));
    let written = read("blkio", "io.stat").map(|text| wbytes(&text)).or_else(|| {
        let text = ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"];
        text.iter().find_map(|file| read("blkio", file)).map(|text| writes(&text))
    });
    Some(Figures {
        cpu,
        memory: used.saturating_sub(stat.unwrap_or_default()),
        // Without a limit the old files have a number that no machine has.
        memory_limit: limit.filter(|limit| *limit < 1 << 60),
        memory_peak: number("memory", "memory.peak").or_else(|| number("memory", "memory.max_usage_in_bytes")),
        processes: number("pids", "pids.current").unwrap_or_default(),
        network: net.map(carried),
        written,
    })
}

/// `8:0 rbytes=1 wbytes=2 …`
fn wbytes(text: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok()).sum()
}

/// `8:0 Write 2`
fn writes(text: &str) -> u64 {
    let written = |line: &str| line.split_once(" Write ")?.1.trim().parse::<u64>().ok();
    text.lines().filter_map(written).sum()
}

/// The bytes that came and went over all interfaces but the loopback.
fn carried(table: &str) -> (u64, u64) {
    let line = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        (name.trim() != "lo").then_some((*counts.first()?, *counts.get(8)?))
    };
    table.lines().filter_map(line).fold((0, 0), |(came, went), (i, o)| (came + i, went + o))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &str = "Inter-|   Receive     |  Transmit\n face |bytes    packets|bytes\n\
        lo:  9 1 0 0 0 0 0 0  9 1 0 0 0 0 0 0\n  eth0: 486 5 0 0 0 0 0 0  70 1 0 0 0 0 0 0\n";

    #[test]
    fn both_versions_are_read() {
        let old = |controller: &str, file: &str| {
            let text = match (controller, file) {
                ("cpuacct", "cpuacct.usage") => "2000000000\n",
                ("memory", "memory.usage_in_bytes") => "5000\n",
                ("memory", "memory.stat") => "inactive_file 1\ntotal_inactive_file 1000\n",
                ("memory", "memory.limit_in_bytes") => "9223372036854771712\n",
                ("memory", "memory.max_usage_in_bytes") => "6000\n",
                ("pids", "pids.current") => "3\n",
                ("blkio", "blkio.throttle.io_service_bytes") => "8:0 Read 1\n8:0 Write 20\n8:16 Write 5\nTotal 26\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let expected = Figures {
            cpu: Duration::from_secs(2),
            memory: 4_000,
            memory_limit: None,
            memory_peak: Some(6_000),
            processes: 3,
            network: Some((486, 70)),
            written: Some(25),
        };
        assert_eq!(counted(old, Some(NET)), Some(expected.clone()));
        let new = |_: &str, file: &str| {
            let text = match file {
                "cpu.stat" => "usage_usec 2000000\nuser_usec 1\n",
                "memory.current" => "5000\n",
                "memory.stat" => "anon 4000\ninactive_file 1000\n",
                "memory.max" => "536870912\n",
                "memory.peak" => "6000\n",
                "pids.current" => "3\n",
                "io.stat" => "8:0 rbytes=1 wbytes=20 rios=1\n8:16 rbytes=0 wbytes=5\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(counted(new, Some(NET)), Some(Figures { memory_limit: Some(512 << 20), ..expected }));
        assert_eq!(counted(|_, _| None, None), None);
    }

    #[test]
    fn a_controller_has_its_folder() {
        let old = "9:name=systemd:/docker/a\n4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n0::/docker/a\n";
        assert_eq!(folder(old, "memory").as_deref(), Some("memory/docker/a"));
        assert_eq!(folder(old, "cpuacct").as_deref(), Some("cpuacct/docker/a"));
        assert_eq!(folder(old, "pids").as_deref(), Some("docker/a"));
        assert_eq!(folder("0::/system.slice/x\n", "memory").as_deref(), Some("system.slice/x"));
    }
}
