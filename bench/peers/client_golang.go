// client_golang: the cases of the benchmark that it has, one round.
package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

const (
	who         = "client_golang"
	repetitions = 3
	secondsMost = 1
	numValues   = 1 << 20
	numPicks    = 65536
)

// What harness.h does for the programs in C and C++, and for the same reasons.

type loop func(thread, numOps int)

func waited() float64 {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	ns, _ := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	return ns
}

// NaN: disturbed.
func timeOne(run func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	waitedBefore, began := waited(), time.Now()
	run()
	ns := float64(time.Since(began).Nanoseconds())
	lost := waited() - waitedBefore
	if lost <= 0.03*ns {
		return ns
	}
	if ns > 1e8 {
		return ns - lost
	}
	return math.NaN()
}

// From when the first begins to when the last ends.
func timeThreads(run loop, numThreads, numOps int) float64 {
	var ready, done sync.WaitGroup
	var start atomic.Bool
	began, ended := make([]time.Time, numThreads), make([]time.Time, numThreads)
	disturbed := make([]bool, numThreads)
	cpus := numThreads
	if cpus > runtime.NumCPU() {
		cpus = runtime.NumCPU()
	}
	ready.Add(numThreads)
	done.Add(numThreads)
	for i := 0; i < numThreads; i++ {
		go func(i int) {
			run(i, numOps/16+1)
			ready.Done()
			for !start.Load() {
				runtime.Gosched()
			}
			ns := timeOne(func() {
				began[i] = time.Now()
				run(i, numOps)
				ended[i] = time.Now()
			})
			disturbed[i] = math.IsNaN(ns)
			done.Done()
		}(i)
	}
	ready.Wait()
	start.Store(true)
	done.Wait()
	first, last := began[0], ended[0]
	for i := range began {
		if began[i].Before(first) {
			first = began[i]
		}
		if ended[i].After(last) {
			last = ended[i]
		}
	}
	for i := range began {
		late := began[i].Sub(first).Seconds() > 0.03*last.Sub(first).Seconds()
		if numThreads <= runtime.NumCPU() && (disturbed[i] || late) {
			return math.NaN()
		}
	}
	return float64(last.Sub(first).Nanoseconds()) * float64(cpus) / float64(numOps*numThreads)
}

func calibrate(run loop, atLeast float64) int {
	for n := 16; ; n *= 2 {
		began := time.Now()
		run(0, n)
		if float64(time.Since(began).Nanoseconds()) > atLeast {
			return n
		}
	}
}

func show(name string, value float64) {
	if math.IsNaN(value) {
		fmt.Fprintf(os.Stderr, "%s: %s: no undisturbed repetition\n", who, name)
	} else {
		fmt.Printf("%s\t%s\t%.4g\n", name, who, value)
	}
}

func showMedian(name string, repeat func() float64) {
	var good []float64
	for began := time.Now(); len(good) < repetitions &&
		time.Since(began).Seconds() < secondsMost; {
		if ns := repeat(); !math.IsNaN(ns) {
			good = append(good, ns)
		}
	}
	sort.Float64s(good)
	if len(good) == 0 {
		show(name, math.NaN())
	} else {
		show(name, good[len(good)/2])
	}
}

func measure(name string, run loop) {
	measureOps(name, run, calibrate(run, 3e6))
}

func measureOps(name string, run loop, n int) {
	showMedian(name, func() float64 {
		return timeOne(func() { run(0, n) }) / float64(n)
	})
}

func measureThreads(name string, run loop, most int) {
	n := calibrate(run, 1e6)
	for threads := 2; threads <= most; threads *= 2 {
		showMedian(fmt.Sprint(name, "-", threads), func() float64 {
			return timeThreads(run, threads, n)
		})
	}
}

var state uint64 = 1

func random() uint64 {
	state += 0x9e3779b97f4a7c15
	z := state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func randomUnit() float64 { return float64(random()>>11) / (1 << 53) }

var bounds11 = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func bounds50() []float64 {
	bounds := make([]float64, 50)
	for i := range bounds {
		bounds[i] = 0.001 * math.Pow(1.25, float64(i))
	}
	return bounds
}

func valuesFor(bounds []float64) []float64 {
	values := make([]float64, numValues)
	low, high := math.Log(bounds[0]/2), math.Log(bounds[len(bounds)-1]*2)
	for i := range values {
		values[i] = math.Exp(low + randomUnit()*(high-low))
	}
	return values
}

// ---- operations ----

func observing(bounds []float64) loop {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: bounds})
	values := valuesFor(bounds)
	return func(thread, numOps int) {
		for i := 0; i < numOps; i++ {
			h.Observe(values[(i+thread*(numValues/3))%numValues])
		}
	}
}

func benchOperations() {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "c"})
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	inc := func(_, numOps int) {
		for i := 0; i < numOps; i++ {
			c.Inc()
		}
	}
	measure("inc", inc)
	measureThreads("inc", inc, 8)
	measure("add-fraction", func(_, numOps int) {
		for i := 0; i < numOps; i++ {
			c.Add(1.5)
		}
	})
	measure("gauge-add", func(_, numOps int) {
		for i := 0; i < numOps; i++ {
			g.Add(1.5)
		}
	})
	measure("gauge-set", func(_, numOps int) {
		for i := 0; i < numOps; i++ {
			g.Set(42)
		}
	})
	observe := observing(bounds11)
	measure("observe-11", observe)
	measure("observe-50", observing(bounds50()))
	measureThreads("observe-11", observe, 8)
}

// ---- many series ----

var (
	methods = []string{"GET", "PUT", "POST", "DELETE"}
	names   = []string{"method", "path"}
)

func method(i int) string { return methods[i%4] }

func paths(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("/api/items/%06d", i)
	}
	return list
}

func picks(n int) []int {
	list := make([]int, numPicks)
	for i := range list {
		list[i] = int(random() % uint64(n))
	}
	return list
}

func counters(list []string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, names)
	for i, path := range list {
		vec.WithLabelValues(method(i), path).Add(float64(1 + random()%100000))
	}
	return vec
}

func incByLabels(vec *prometheus.CounterVec, list []string) loop {
	order := picks(len(list))
	return func(thread, numOps int) {
		for op := 0; op < numOps; op++ {
			i := order[(op+thread*9999)%numPicks]
			vec.WithLabelValues(method(i), list[i]).Inc()
		}
	}
}

func benchLabels(n int, from2Threads bool) {
	list := paths(n)
	run := incByLabels(counters(list), list)
	name := fmt.Sprint("labels-", n)
	if n > 1000 {
		measureOps(name, run, numPicks)
		return
	}
	measure(name, run)
	if from2Threads {
		measureThreads(name, run, 2)
	}
}

func scrape(registry *prometheus.Registry, out io.Writer) {
	families, err := registry.Gather()
	for _, family := range families {
		if err == nil {
			_, err = expfmt.MetricFamilyToText(out, family)
		}
	}
	if err != nil || len(families) == 0 {
		panic("no page")
	}
}

func registryOf(collector prometheus.Collector) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	return registry
}

func benchPage(kind string, collector prometheus.Collector, n, numLines int, change func()) {
	registry := registryOf(collector)
	var buffer bytes.Buffer
	pages := 1
	if n < 10000 {
		pages = 10000 / n
	}
	showMedian(fmt.Sprintf("text-%s-%d", kind, n), func() float64 {
		change()
		return timeOne(func() {
			for i := 0; i < pages; i++ {
				buffer.Reset()
				scrape(registry, &buffer)
			}
		}) / float64(pages*n*numLines)
	})
	if bytes.Count(buffer.Bytes(), []byte("\n")) < n*numLines {
		panic("lines are missing")
	}
}

func benchCounterPage(n int) {
	list := paths(n)
	vec := counters(list)
	benchPage("counter", vec, n, 1, func() {
		for i, path := range list {
			vec.WithLabelValues(method(i), path).Add(float64(1 + random()%100000))
		}
	})
}

func benchGaugePage(n int) {
	list := paths(n)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "http_requests_depth"}, names)
	benchPage("gauge", vec, n, 1, func() {
		for i, path := range list {
			vec.WithLabelValues(method(i), path).Set(1000 * randomUnit())
		}
	})
}

func histograms(list []string) (*prometheus.HistogramVec, func()) {
	vec := prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Name: "http_request_seconds", Buckets: bounds11}, names)
	return vec, func() {
		for i, path := range list {
			vec.WithLabelValues(method(i), path).Observe(math.Exp(-6 + 9*randomUnit()))
		}
	}
}

func benchHistogramPage(n int) {
	vec, change := histograms(paths(n))
	benchPage("histogram", vec, n, 14, change)
}

// ---- beside a scrape ----

func beside(work, run func()) {
	var stop atomic.Bool
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		for !stop.Load() {
			work()
		}
		done.Done()
	}()
	run()
	stop.Store(true)
	done.Wait()
}

func longestCall(vec *prometheus.CounterVec, list []string, numNew *int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	longest, waitedBefore := 0.0, waited()
	start := time.Now()
	for i := 0; time.Since(start) < 300*time.Millisecond; i++ {
		path := list[i%len(list)]
		if i%16 == 0 {
			*numNew++
			path = fmt.Sprint("/new/", *numNew)
		}
		began := time.Now()
		vec.WithLabelValues("GET", path).Inc()
		ns := float64(time.Since(began).Nanoseconds())
		if ns > 5e4 {
			now := waited()
			ns -= now - waitedBefore
			waitedBefore = now
		}
		longest = math.Max(longest, ns)
	}
	return longest / 1000
}

func benchBeside() {
	vec := counters(paths(100000))
	registry := registryOf(vec)
	few := paths(1000)
	c := vec.WithLabelValues(method(500), few[500])
	numNew := 0
	beside(func() { scrape(registry, io.Discard) }, func() {
		showMedian("inc-beside-scrape", func() float64 {
			return timeOne(func() {
				for i := 0; i < 20000000; i++ {
					c.Inc()
				}
			}) / 20000000
		})
		run := incByLabels(vec, few)
		showMedian("labels-beside-scrape", func() float64 {
			return timeOne(func() { run(0, 500000) }) / 500000
		})
		show("longest-call-beside-scrape", longestCall(vec, few, &numNew))
	})
}

// ---- growth ----

func resident() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	text, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	return pages * float64(os.Getpagesize())
}

func benchMemory(name string, make func() interface{}) {
	before := resident()
	kept := make()
	show(name, (resident()-before)/100000)
	runtime.KeepAlive(kept)
}

func cpuTime() float64 {
	var usage syscall.Rusage
	const thread = 1
	_ = syscall.Getrusage(thread, &usage)
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchMaking(n int) {
	list := paths(n)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, names)
	worst := 0.0
	runtime.LockOSThread()
	began := cpuTime()
	for i, path := range list {
		vec.WithLabelValues(method(i), path)
	}
	made := cpuTime() - began
	vec.Reset()
	for i, path := range list {
		began := cpuTime()
		vec.WithLabelValues(method(i), path)
		worst = math.Max(worst, cpuTime()-began)
	}
	runtime.UnlockOSThread()
	if n > 1000 {
		show(fmt.Sprint("making-", n), made/float64(n))
	}
	if n == 1000000 {
		show("worst-labels-call", worst/1000)
	}
}

func main() {
	list := paths(100000)
	benchMemory("memory-counter", func() interface{} { return counters(list) })
	benchMemory("memory-histogram", func() interface{} {
		vec, observeAll := histograms(list)
		observeAll()
		return vec
	})
	benchMaking(100000)
	benchMaking(1000000)
	debug.FreeOSMemory()
	benchOperations()
	benchLabels(1, false)
	benchLabels(1000, true)
	benchLabels(100000, false)
	for n := 100; n <= 1000000; n *= 10 {
		benchCounterPage(n)
	}
	benchGaugePage(1000)
	benchGaugePage(100000)
	benchHistogramPage(1000)
	benchHistogramPage(100000)
	benchBeside()
}
