// prometheus-cpp: the cases of the benchmark that it has, one round.
#include "../harness.h"

#include <memory>
#include <string>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

using namespace prometheus;

static const char who[] = "prometheus-cpp";

static void print_time(const char *name, const harness_measure &measure) {
    harness_side side = {who, measure};
    harness_compare(name, &side, 1);
}

static void print_time(const std::string &name, harness_loop *loop, void *user,
                       unsigned num_threads = 1, size_t num_ops = 0) {
    harness_measure measure = {};
    measure.num_ops = num_ops;
    measure.loop = loop;
    measure.user = user;
    measure.num_threads = num_threads;
    print_time(name.c_str(), measure);
}

static void print_times_of_threads(const std::string &name, harness_loop *loop, void *user) {
    for (unsigned n = 2; n <= HARNESS_MOST_THREADS; n *= 2)
        print_time(name + "-" + std::to_string(n), loop, user, n);
}

// ---- operations ----

static void inc(void *user, unsigned, size_t num_ops) {
    for (size_t i = 0; i < num_ops; i++)
        static_cast<Counter *>(user)->Increment();
}

static void add(void *user, unsigned, size_t num_ops) {
    for (size_t i = 0; i < num_ops; i++)
        static_cast<Counter *>(user)->Increment(1.5);
}

static void gauge_add(void *user, unsigned, size_t num_ops) {
    for (size_t i = 0; i < num_ops; i++)
        static_cast<Gauge *>(user)->Increment(1.5);
}

static void gauge_set(void *user, unsigned, size_t num_ops) {
    for (size_t i = 0; i < num_ops; i++)
        static_cast<Gauge *>(user)->Set(42);
}

struct Observed {
    Histogram *histogram;
    const double *values;
};

static void observe(void *user, unsigned thread, size_t num_ops) {
    auto o = static_cast<Observed *>(user);
    for (size_t i = 0; i < num_ops; i++)
        o->histogram->Observe(harness_value(o->values, thread, i));
}

static Histogram::BucketBoundaries boundaries(const double *bounds, size_t n) {
    return Histogram::BucketBoundaries(bounds, bounds + n);
}

static void bench_operations() {
    Registry registry;
    auto &counters = BuildCounter().Name("counter").Register(registry);
    auto &gauges = BuildGauge().Name("gauge").Register(registry);
    auto &histograms = BuildHistogram().Name("histogram").Register(registry);
    const double *few_bounds = harness_bounds_11, *many_bounds = harness_bounds_50();
    Observed few = {&histograms.Add({{"n", "11"}}, boundaries(few_bounds, 11)),
                    harness_values(few_bounds, 11)};
    Observed many = {&histograms.Add({{"n", "50"}}, boundaries(many_bounds, 50)),
                     harness_values(many_bounds, 50)};
    Counter &counter = counters.Add({{"n", "1"}}), &real = counters.Add({{"n", "2"}});
    Gauge &gauge = gauges.Add({});
    print_time("inc", inc, &counter);
    print_times_of_threads("inc", inc, &counter);
    print_time("add-fraction", add, &real);
    print_time("gauge-add", gauge_add, &gauge);
    print_time("gauge-set", gauge_set, &gauge);
    print_time("observe-11", observe, &few);
    print_time("observe-50", observe, &many);
    print_times_of_threads("observe-11", observe, &few);
}

// ---- many series ----

template <typename T> struct Series {
    Registry registry;
    Family<T> *family;
    harness_labels labels;
    std::vector<T *> all;
    uint64_t state = 3;
    uint64_t num_new = 0;
    harness_labels picked;
};

using Counters = Series<Counter>;

static const auto bounds_of_all = boundaries(harness_bounds_11, 11);

static Counter &child(Series<Counter> &s, size_t i) {
    return s.family->Add({{"method", harness_method(&s.labels, i)}, {"path", s.labels.paths[i]}});
}
static Gauge &child(Series<Gauge> &s, size_t i) {
    return s.family->Add({{"method", harness_method(&s.labels, i)}, {"path", s.labels.paths[i]}});
}
static Histogram &child(Series<Histogram> &s, size_t i) {
    return s.family->Add({{"method", harness_method(&s.labels, i)}, {"path", s.labels.paths[i]}},
                         bounds_of_all);
}

static void change(Counter &c, uint64_t random, double) {
    c.Increment(static_cast<double>(1 + random % 100000));
}
static void change(Gauge &g, uint64_t, double unit) {
    g.Set(1000 * unit);
}
static void change(Histogram &h, uint64_t, double unit) {
    h.Observe(std::exp(-6 + 9 * unit));
}

template <typename T> static void change_values(void *user) {
    auto &s = *static_cast<Series<T> *>(user);
    for (T *each : s.all) {
        uint64_t random = harness_random(&s.state);
        change(*each, random, harness_random_unit(&s.state));
    }
}

template <typename T> static void make_series(Series<T> &s) {
    s.all.resize(s.labels.num);
    for (size_t i = 0; i < s.labels.num; i++)
        s.all[i] = &child(s, i);
    change_values<T>(&s);
}

template <typename T> static std::unique_ptr<Series<T>> new_series(size_t num) {
    std::unique_ptr<Series<T>> s(new Series<T>);
    s->family = &detail::Builder<T>().Name("http_requests").Help("Requests.").Register(s->registry);
    s->labels = harness_labels_new(num);
    return s;
}

template <typename T> static void write_pages(void *user, unsigned, size_t num_ops) {
    auto s = static_cast<Series<T> *>(user);
    for (size_t i = 0; i < num_ops; i++) {
        std::string page = TextSerializer().Serialize(s->registry.Collect());
        harness_expect(page.size() > s->labels.num * 40, "an empty page");
    }
}

template <typename T> static void bench_page(const char *kind, size_t num_lines, size_t num) {
    auto s = new_series<T>(num);
    harness_measure measure = {};
    make_series(*s);
    measure.loop = write_pages<T>;
    measure.prepare = change_values<T>;
    measure.user = s.get();
    measure.num_ops = num < 10000 ? 10000 / num : 1;
    measure.parts = static_cast<double>(num * num_lines);
    print_time((std::string("text-") + kind + "-" + std::to_string(num)).c_str(), measure);
    harness_labels_free(&s->labels);
}

static void inc_by_labels(void *user, unsigned thread, size_t num_ops) {
    auto &s = *static_cast<Counters *>(user);
    HARNESS_FOR_PICKS(&s.labels, thread, i, num_ops) {
        child(s, i).Increment();
    }
}

static void bench_labels(size_t num, bool from_2_threads) {
    auto s = new_series<Counter>(num);
    make_series(*s);
    std::string name = "labels-" + std::to_string(num);
    print_time(name, inc_by_labels, s.get(), 1, num > 1000 ? HARNESS_NUM_PICKS : 0);
    if (from_2_threads)
        print_time(name + "-2", inc_by_labels, s.get(), 2);
}

// ---- beside a scrape ----

static void scrape(void *user) {
    write_pages<Counter>(user, 0, 1);
}

static void inc_first(void *user, unsigned thread, size_t num_ops) {
    inc(static_cast<Counters *>(user)->all[500], thread, num_ops);
}

static void inc_by_1000_labels(void *user, unsigned thread, size_t num_ops) {
    auto &s = *static_cast<Counters *>(user);
    HARNESS_FOR_PICKS(&s.picked, thread, i, num_ops) {
        child(s, i).Increment();
    }
}

static void longest_call(void *user, unsigned, size_t) {
    auto &s = *static_cast<Counters *>(user);
    double start = harness_now(), waited = harness_waited(), longest = 0, now = start;
    for (unsigned i = 0; now - start < 3e8; i++) {
        std::string path = s.picked.paths[i % 1000];
        if (i % 16 == 0)
            path = "/new/" + std::to_string(s.num_new++);
        double began = harness_now();
        s.family->Add({{"method", "GET"}, {"path", path}}).Increment();
        now = harness_now();
        double waited_now = now - began > 5e4 ? harness_waited() : waited;
        longest = std::max(longest, now - began - (waited_now - waited));
        waited = waited_now;
    }
    harness_print("longest-call-beside-scrape", who, longest / 1000);
}

static void bench_beside() {
    auto s = new_series<Counter>(100000);
    make_series(*s);
    s->picked = harness_labels_new(1000);
    harness_measure measure = {};
    measure.user = measure.beside_user = s.get();
    measure.beside = scrape;
    measure.loop = inc_first;
    measure.num_ops = 20000000; // 100 ms
    print_time("inc-beside-scrape", measure);
    measure.loop = inc_by_1000_labels;
    measure.num_ops = 100000;
    print_time("labels-beside-scrape", measure);
    measure.loop = longest_call;
    harness_pin(0);
    harness_time(&measure, 1);
    harness_unpin();
}

// ---- growth ----

template <typename T> static void memory_of(const char *name) {
    auto s = new_series<T>(100000);
    double before = harness_resident();
    for (size_t i = 0; i < s->labels.num; i++)
        child(*s, i);
    harness_print(name, who, (harness_resident() - before) / static_cast<double>(s->labels.num));
}

static void memory_of_counters() {
    memory_of<Counter>("memory-counter");
}

static void memory_of_histograms() {
    memory_of<Histogram>("memory-histogram");
}

template <size_t num> static void making() {
    auto s = new_series<Counter>(num);
    double began = harness_cpu_time();
    for (size_t i = 0; i < num; i++)
        child(*s, i);
    harness_print(("making-" + std::to_string(num)).c_str(), who,
                  (harness_cpu_time() - began) / static_cast<double>(num));
}

static void worst_call() {
    auto s = new_series<Counter>(1000000);
    double worst = 0;
    for (size_t i = 0; i < s->labels.num; i++) {
        double began = harness_cpu_time();
        child(*s, i);
        worst = std::max(worst, harness_cpu_time() - began);
    }
    harness_print("worst-labels-call", who, worst / 1000);
}

int main() {
    harness_in_child(memory_of_counters);
    harness_in_child(memory_of_histograms);
    harness_in_child(making<1000>);
    harness_in_child(making<100000>);
    harness_in_child(making<1000000>);
    harness_in_child(worst_call);
    harness_init();
    bench_operations();
    bench_labels(1, false);
    bench_labels(1000, true);
    bench_labels(100000, false);
    for (size_t num = 100; num <= 1000000; num *= 10)
        bench_page<Counter>("counter", 1, num);
    bench_page<Gauge>("gauge", 1, 1000);
    bench_page<Gauge>("gauge", 1, 100000);
    bench_page<Histogram>("histogram", 14, 1000);
    bench_page<Histogram>("histogram", 14, 100000);
    bench_beside();
    return 0;
}
