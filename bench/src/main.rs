//! Measures the whole program from outside and prints Markdown: `scripts/bench` builds it for release and runs it.
//!
//! Four questions, each in a file of its own: how soon after a PUT is the new certificate met and proven
//! ([`change`]), how many GETs a second are answered ([`reads`]), how start and memory grow with the number
//! of deployments ([`growth`]), and what judging an upload costs ([`intake`]).

mod change;
mod growth;
mod intake;
mod reads;
mod spread;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    println!("Machine: {cores} cores, {}.\n", memory());
    if wanted("change") {
        change::measure();
    }
    if wanted("reads") {
        reads::measure();
    }
    if wanted("growth") {
        growth::measure(growth::COUNTS);
    }
    // Only when it is asked for: it takes long.
    if names.iter().any(|asked| asked == "growth-100k") {
        growth::measure(growth::COUNTS_TO_100K);
    }
    if wanted("intake") {
        intake::measure();
    }
}

fn memory() -> String {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|text| text.parse().ok()).unwrap_or(0);
    format!("{} GiB of memory", kib.div_ceil(1024 * 1024))
}
