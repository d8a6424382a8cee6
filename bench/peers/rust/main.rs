// rust-prometheus: the cases of the benchmark that it has, one round.
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts,
    Registry, TextEncoder,
};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

const WHO: &str = "rust-prometheus";
const REPETITIONS: usize = 3;
const SECONDS_MOST: f64 = 1.0;
const NUM_VALUES: usize = 1 << 20;
const NUM_PICKS: usize = 65536;
const NAN: f64 = f64::NAN;

// What harness.h does for the programs in C and C++, and for the same reasons.

fn waited() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn nanoseconds(began: Instant) -> f64 {
    began.elapsed().as_nanos() as f64
}

// NAN: disturbed.
fn time_one(run: impl FnOnce()) -> f64 {
    let (waited_before, began) = (waited(), Instant::now());
    run();
    let ns = nanoseconds(began);
    let lost = waited() - waited_before;
    if lost <= 0.03 * ns {
        ns
    } else if ns > 1e8 {
        ns - lost
    } else {
        NAN
    }
}

fn num_cpus() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get())
}

fn wait_for(ready: &AtomicUsize, num: usize) {
    ready.fetch_add(1, Ordering::AcqRel);
    while ready.load(Ordering::Acquire) < num {
        if num > num_cpus() {
            thread::yield_now();
        }
    }
}

// From when the first begins to when the last ends.
fn time_threads(run: &(dyn Fn(usize, usize) + Sync), num_threads: usize, num_ops: usize) -> f64 {
    let ready = AtomicUsize::new(0);
    let start = Instant::now();
    let times: Vec<(f64, f64, bool)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..num_threads)
            .map(|i| {
                let ready = &ready;
                scope.spawn(move || {
                    run(i, num_ops / 16 + 1);
                    wait_for(ready, num_threads);
                    let mut ends = (0.0, 0.0);
                    let ns = time_one(|| {
                        ends.0 = nanoseconds(start);
                        run(i, num_ops);
                        ends.1 = nanoseconds(start);
                    });
                    (ends.0, ends.1, ns.is_nan())
                })
            })
            .collect();
        threads.into_iter().map(|each| each.join().unwrap()).collect()
    });
    let first = times.iter().map(|each| each.0).fold(f64::MAX, f64::min);
    let last = times.iter().map(|each| each.1).fold(0.0, f64::max);
    let is_late = |began: f64| began - first > 0.03 * (last - first);
    if num_threads <= num_cpus() && times.iter().any(|each| each.2 || is_late(each.0)) {
        return NAN;
    }
    (last - first) * num_threads.min(num_cpus()) as f64 / (num_ops * num_threads) as f64
}

fn calibrate(run: &dyn Fn(usize, usize), at_least: f64) -> usize {
    let mut num_ops = 16;
    loop {
        let began = Instant::now();
        run(0, num_ops);
        if nanoseconds(began) > at_least {
            return num_ops;
        }
        num_ops *= 2;
    }
}

fn show(name: &str, value: f64) {
    if value.is_nan() {
        eprintln!("{WHO}: {name}: no undisturbed repetition");
    } else {
        println!("{name}\t{WHO}\t{value:.3}");
    }
}

fn show_median(name: &str, mut repeat: impl FnMut() -> f64) {
    let began = Instant::now();
    let mut good = Vec::new();
    while good.len() < REPETITIONS && began.elapsed().as_secs_f64() < SECONDS_MOST {
        let ns = repeat();
        if !ns.is_nan() {
            good.push(ns);
        }
    }
    good.sort_by(f64::total_cmp);
    show(name, *good.get(good.len() / 2).unwrap_or(&NAN));
}

fn measure(name: &str, run: impl Fn(usize, usize)) {
    let num_ops = calibrate(&run, 3e6);
    measure_ops(name, run, num_ops);
}

fn measure_ops(name: &str, run: impl Fn(usize, usize), num_ops: usize) {
    show_median(name, || time_one(|| run(0, num_ops)) / num_ops as f64);
}

fn measure_threads(name: &str, run: impl Fn(usize, usize) + Sync, most: usize) {
    let num_ops = calibrate(&run, 1e6);
    let mut num_threads = 2;
    while num_threads <= most {
        show_median(&format!("{name}-{num_threads}"), || time_threads(&run, num_threads, num_ops));
        num_threads *= 2;
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d049bb133111eb);
        z ^ z >> 31
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

const BOUNDS_11: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn bounds_50() -> Vec<f64> {
    (0..50).map(|i| 0.001 * 1.25f64.powi(i)).collect()
}

fn values_for(bounds: &[f64]) -> Vec<f64> {
    let mut random = Random(1);
    let (low, high) = ((bounds[0] / 2.0).ln(), (bounds[bounds.len() - 1] * 2.0).ln());
    (0..NUM_VALUES).map(|_| (low + random.unit() * (high - low)).exp()).collect()
}

// ---- operations ----

fn observing(bounds: &[f64]) -> impl Fn(usize, usize) {
    let opts = HistogramOpts::new("h", "h").buckets(bounds.to_vec());
    let histogram = Histogram::with_opts(opts).unwrap();
    let values = values_for(bounds);
    move |thread, num_ops| {
        for i in 0..num_ops {
            histogram.observe(values[(i + thread * (NUM_VALUES / 3)) % NUM_VALUES]);
        }
    }
}

// Without the barrier several stores would become one.
fn set(gauge: &Gauge) {
    gauge.set(42.0);
    unsafe { std::arch::asm!("", options(nostack, preserves_flags)) };
}

fn bench_operations() {
    let counter = Counter::new("c", "c").unwrap();
    let gauge = Gauge::new("g", "g").unwrap();
    let inc = |_, num_ops| (0..num_ops).for_each(|_: usize| counter.inc());
    measure("inc", inc);
    measure_threads("inc", inc, 8);
    measure("add-fraction", |_, n| (0..n).for_each(|_| counter.inc_by(1.5)));
    measure("gauge-add", |_, n| (0..n).for_each(|_| gauge.add(1.5)));
    measure("gauge-set", |_, n| (0..n).for_each(|_| set(&gauge)));
    let observe = observing(&BOUNDS_11);
    measure("observe-11", &observe);
    measure("observe-50", observing(&bounds_50()));
    measure_threads("observe-11", &observe, 8);
}

// ---- many series ----

const NAMES: [&str; 2] = ["method", "path"];

fn method(i: usize) -> &'static str {
    ["GET", "PUT", "POST", "DELETE"][i % 4]
}

fn paths(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("/api/items/{i:06}")).collect()
}

fn empty_counters() -> CounterVec {
    CounterVec::new(Opts::new("http_requests_total", "Requests."), &NAMES).unwrap()
}

fn change_counters(counters: &CounterVec, list: &[String], random: &mut Random) {
    for (i, path) in list.iter().enumerate() {
        let amount = 1 + random.next() % 100000;
        counters.with_label_values(&[method(i), path]).inc_by(amount as f64);
    }
}

fn counters_of(list: &[String]) -> CounterVec {
    let counters = empty_counters();
    change_counters(&counters, list, &mut Random(3));
    counters
}

fn histograms() -> HistogramVec {
    let opts = HistogramOpts::new("http_request_seconds", "Requests.").buckets(BOUNDS_11.to_vec());
    HistogramVec::new(opts, &NAMES).unwrap()
}

fn change_histograms(histograms: &HistogramVec, list: &[String], random: &mut Random) {
    for (i, path) in list.iter().enumerate() {
        let value = (-6.0 + 9.0 * random.unit()).exp();
        histograms.with_label_values(&[method(i), path]).observe(value);
    }
}

fn inc_by_labels<'a>(
    counters: &'a CounterVec,
    list: &'a [String],
) -> impl Fn(usize, usize) + Sync + 'a {
    let mut random = Random(2);
    let picks: Vec<usize> =
        (0..NUM_PICKS).map(|_| random.next() as usize % list.len()).collect();
    move |thread, num_ops| {
        for op in 0..num_ops {
            let i = picks[(op + thread * 9999) % NUM_PICKS];
            counters.with_label_values(&[method(i), &list[i]]).inc();
        }
    }
}

fn bench_labels(n: usize, from_2_threads: bool) {
    let list = paths(n);
    let counters = counters_of(&list);
    let run = inc_by_labels(&counters, &list);
    let name = format!("labels-{n}");
    if n > 1000 {
        return measure_ops(&name, &run, NUM_PICKS);
    }
    measure(&name, &run);
    if from_2_threads {
        measure_threads(&name, &run, 2);
    }
}

fn scrape(registry: &Registry, page: &mut Vec<u8>) {
    page.clear();
    TextEncoder::new().encode(&registry.gather(), page).unwrap();
}

fn registry_of(collector: impl Collector + 'static) -> Registry {
    let registry = Registry::new();
    registry.register(Box::new(collector)).unwrap();
    registry
}

fn bench_page(
    kind: &str,
    collector: impl Collector + 'static,
    n: usize,
    num_lines: usize,
    mut change: impl FnMut(),
) {
    let registry = registry_of(collector);
    let pages = if n < 10000 { 10000 / n } else { 1 };
    let mut page = Vec::new();
    change();
    show_median(&format!("text-{kind}-{n}"), || {
        change();
        time_one(|| (0..pages).for_each(|_| scrape(&registry, &mut page)))
            / (pages * n * num_lines) as f64
    });
    assert!(page.iter().filter(|byte| **byte == b'\n').count() >= n * num_lines);
}

fn bench_counter_page(n: usize) {
    let list = paths(n);
    let (counters, mut random) = (empty_counters(), Random(3));
    bench_page("counter", counters.clone(), n, 1, || {
        change_counters(&counters, &list, &mut random)
    });
}

fn bench_gauge_page(n: usize) {
    let list = paths(n);
    let gauges = GaugeVec::new(Opts::new("http_requests_depth", "Requests."), &NAMES).unwrap();
    let mut random = Random(3);
    bench_page("gauge", gauges.clone(), n, 1, || {
        for (i, path) in list.iter().enumerate() {
            gauges.with_label_values(&[method(i), path]).set(1000.0 * random.unit());
        }
    });
}

fn bench_histogram_page(n: usize) {
    let list = paths(n);
    let (histograms, mut random) = (histograms(), Random(3));
    bench_page("histogram", histograms.clone(), n, 14, || {
        change_histograms(&histograms, &list, &mut random)
    });
}

// ---- beside a scrape ----

fn longest_call(counters: &CounterVec, list: &[String]) -> f64 {
    let (mut longest, mut waited_before) = (0.0, waited());
    let start = Instant::now();
    for i in 0.. {
        let fresh = format!("/new/{i}");
        let path = if i % 16 == 0 { &fresh } else { &list[i % list.len()] };
        let began = Instant::now();
        counters.with_label_values(&["GET", path]).inc();
        let mut ns = nanoseconds(began);
        if ns > 5e4 {
            let now = waited();
            ns -= now - waited_before;
            waited_before = now;
        }
        longest = f64::max(longest, ns);
        if start.elapsed().as_millis() > 300 {
            break;
        }
    }
    longest / 1000.0
}

fn bench_beside() {
    let counters = counters_of(&paths(100000));
    let registry = registry_of(counters.clone());
    let few = paths(1000);
    let counter = counters.with_label_values(&[method(500), &few[500]]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut page = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                scrape(&registry, &mut page);
            }
        });
        show_median("inc-beside-scrape", || {
            time_one(|| (0..20000000).for_each(|_| counter.inc())) / 2e7
        });
        let run = inc_by_labels(&counters, &few);
        show_median("labels-beside-scrape", || time_one(|| run(0, 1000000)) / 1e6);
        show("longest-call-beside-scrape", longest_call(&counters, &few));
        stop.store(true, Ordering::Relaxed);
    });
}

// ---- growth ----

fn resident() -> f64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

fn cpu_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

// What was made is kept, so that the memory of the next is fresh.
fn bench_memory() {
    let list = paths(100000);
    let before = resident();
    std::mem::forget(counters_of(&list));
    show("memory-counter", (resident() - before) / 1e5);
    let before = resident();
    let histograms = histograms();
    change_histograms(&histograms, &list, &mut Random(3));
    show("memory-histogram", (resident() - before) / 1e5);
    std::mem::forget(histograms);
}

fn bench_making(n: usize) {
    let (list, counters) = (paths(n), empty_counters());
    let began = cpu_time();
    for (i, path) in list.iter().enumerate() {
        counters.with_label_values(&[method(i), path]);
    }
    show(&format!("making-{n}"), (cpu_time() - began) / n as f64);
}

fn bench_worst_call() {
    let (list, counters) = (paths(1000000), empty_counters());
    let mut worst = 0.0;
    for (i, path) in list.iter().enumerate() {
        let began = cpu_time();
        counters.with_label_values(&[method(i), path]);
        worst = f64::max(worst, cpu_time() - began);
    }
    show("worst-labels-call", worst / 1000.0);
}

fn main() {
    bench_memory();
    bench_making(1000);
    bench_making(100000);
    bench_making(1000000);
    bench_worst_call();
    bench_operations();
    bench_labels(1, false);
    bench_labels(1000, true);
    bench_labels(100000, false);
    for n in [100, 1000, 10000, 100000, 1000000] {
        bench_counter_page(n);
    }
    bench_gauge_page(1000);
    bench_gauge_page(100000);
    bench_histogram_page(1000);
    bench_histogram_page(100000);
    bench_beside();
}
