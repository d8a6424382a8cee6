/* Timers, scopes that time or count what is in progress, and errors counted. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <errno.h>
#include <pthread.h>

static pytheus_histogram latency(pytheus_registry *r) {
    return HISTOGRAM(r, .name = "latency_seconds");
}

static void check_count_and_sum(pytheus_registry *r, int count, double sum, int line) {
    check_double(fixture_sample(r, "latency_seconds_count", NULL, 0), count, "count", __FILE__,
                 line);
    check_double(fixture_sample(r, "latency_seconds_sum", NULL, 0), sum, "sum", __FILE__, line);
}
#define CHECK_LATENCY(r, count, sum) check_count_and_sum(r, count, sum, __LINE__)

/* ---- timers ---- */

TEST_WITH(r, a_timer_observes_the_seconds) {
    pytheus_histogram h = latency(r);
    pytheus_timer t = pytheus_timer_start(h.view);
    now += 2.5;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 2.5);
    CHECK_LATENCY(r, 1, 2.5);
}

TEST_WITH(r, a_running_timer_observes_nothing) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 2.5;
    CHECK_LATENCY(r, 0, 0);
    pytheus_timer_cancel(&t);
}

TEST_WITH(r, a_timer_works_on_a_summary) {
    pytheus_summary s = SUMMARY(r, .name = "latency_seconds");
    pytheus_timer t = pytheus_timer_start(s.view);
    now += 0.25;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 0.25);
    CHECK_LATENCY(r, 1, 0.25);
}

TEST_WITH(r, a_timer_sets_a_gauge) {
    pytheus_gauge g = GAUGE(r, .name = "last_seconds");
    pytheus_gauge_set(g, 100);
    pytheus_timer t = pytheus_timer_start(g.view);
    now += 3;
    pytheus_timer_stop(&t);
    CHECK_VALUE(g, 3);
}

TEST_WITH(r, a_timer_stops_once) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 1;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 1);
    now += 1;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 1);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 1);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_cancelled_timer_observes_nothing) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 1;
    pytheus_timer_cancel(&t);
    pytheus_timer_cancel(&t);
    pytheus_timer_stop(&t);
    CHECK_LATENCY(r, 0, 0);
}

TEST_WITH(r, cancelling_after_the_stop_changes_nothing) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 1;
    pytheus_timer_stop(&t);
    pytheus_timer_cancel(&t);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, time_never_runs_backwards) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now -= 5;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 0);
    CHECK_LATENCY(r, 1, 0);
}

TEST_WITH(r, a_timer_may_take_no_time) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 0);
    CHECK_LATENCY(r, 1, 0);
}

TEST_WITH(r, labels_can_be_chosen_before_the_stop) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"method", "code"});
    pytheus_histogram get = pytheus_histogram_labels(h, "method", "GET");
    pytheus_timer t = pytheus_timer_start(get.view);
    now += 2;
    pytheus_timer_to(&t, pytheus_histogram_labels(get, "code", "404").view);
    now += 1;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 3);
    CHECK_LABELLED(r, "x_sum", 3, "method", "GET", "code", "404");
    CHECK_INT(logged.num, 0);
}

TEST_WITH(r, a_timer_can_be_sent_to_another_metric) {
    pytheus_histogram h = latency(r);
    pytheus_gauge g = GAUGE(r, .name = "last_seconds");
    pytheus_timer t = pytheus_timer_start(h.view);
    pytheus_timer_to(&t, g.view);
    now += 4;
    pytheus_timer_stop(&t);
    CHECK_VALUE(g, 4);
    CHECK_LATENCY(r, 0, 0);
}

TEST_WITH(r, a_stopped_timer_cannot_be_sent_elsewhere) {
    pytheus_gauge g = GAUGE(r, .name = "last_seconds");
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 1;
    pytheus_timer_stop(&t);
    pytheus_timer_to(&t, g.view);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 1);
    CHECK_VALUE(g, 0);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timer_on_an_incomplete_view_tells_so) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"});
    pytheus_timer t = pytheus_timer_start(h.view);
    now += 5;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 5);
    CHECK_ERR(logged.err, PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_STR(logged.metric, "x");
    CHECK_PAGE(r, "# TYPE x histogram\n");
}

TEST_WITH(r, a_timer_sent_to_nothing_still_measures) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"});
    pytheus_timer t = pytheus_timer_start(h.view);
    now += 5;
    pytheus_timer_to(&t, pytheus_histogram_labels(h, "b", "1").view);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 5);
    CHECK_PAGE(r, "# TYPE x histogram\n");
}

TEST_WITH(r, a_timer_refuses_a_counter) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_timer t = pytheus_timer_start(c.view);
    now += 5;
    pytheus_timer_stop(&t);
    CHECK_ERR(logged.err, PYTHEUS_ERR_TYPE);
    CHECK_VALUE(c, 0);
}

TEST_WITH(r, a_timer_cannot_be_sent_to_a_counter) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    pytheus_timer_to(&t, c.view);
    now += 5;
    pytheus_timer_stop(&t);
    CHECK_ERR(logged.err, PYTHEUS_ERR_TYPE);
    CHECK_VALUE(c, 0);
    CHECK_LATENCY(r, 0, 0);
}

TEST_WITH(r, a_timer_on_a_removed_series_tells_so) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"});
    pytheus_histogram view = pytheus_histogram_labels(h, "a", "1");
    pytheus_timer t = pytheus_timer_start(view.view);
    pytheus_view_remove(view.view);
    pytheus_histogram_labels(h, "a", "1");
    pytheus_timer_stop(&t);
    CHECK_ERR(logged.err, PYTHEUS_ERR_REMOVED);
    CHECK_LABELLED(r, "x_count", 0, "a", "1");
}

TEST(a_timer_on_nothing_does_nothing) {
    pytheus_timer t = pytheus_timer_start((pytheus_view){NULL, 0});
    CHECK(pytheus_timer_stop(&t) >= 0);
    t = pytheus_timer_start((pytheus_view){NULL, 0});
    pytheus_timer_cancel(&t);
}

TEST(a_timer_of_zeros_can_be_stopped) {
    pytheus_timer t;
    memset(&t, 0, sizeof t);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 0);
    pytheus_timer_cancel(&t);
}

TEST_WITH(r, timers_do_not_disturb_each_other) {
    pytheus_histogram h = latency(r);
    pytheus_timer first = pytheus_timer_start(h.view);
    now += 1;
    pytheus_timer second = pytheus_timer_start(h.view);
    now += 2;
    CHECK_DOUBLE(pytheus_timer_stop(&first), 3);
    now += 4;
    CHECK_DOUBLE(pytheus_timer_stop(&second), 6);
    CHECK_LATENCY(r, 2, 9);
}

static void *stop_in_thread(void *timer) {
    pytheus_timer_stop((pytheus_timer *)timer);
    return NULL;
}

TEST_WITH(r, a_timer_can_be_stopped_by_another_thread) {
    pthread_t thread;
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 7;
    CHECK_INT(pthread_create(&thread, NULL, stop_in_thread, &t), 0);
    pthread_join(thread, NULL);
    CHECK_LATENCY(r, 1, 7);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 7);
}

static double read_clock(void *user) {
    return *(double *)user;
}

TEST(each_registry_has_its_own_clock) {
    double early = 10, late = 1000;
    pytheus_registry *a =
        backends_registry(&(pytheus_registry_desc){.clock = read_clock, .clock_user = &early});
    pytheus_registry *b =
        backends_registry(&(pytheus_registry_desc){.clock = read_clock, .clock_user = &late});
    pytheus_timer in_a = pytheus_timer_start(latency(a).view);
    pytheus_timer in_b = pytheus_timer_start(latency(b).view);
    early += 1;
    late += 2;
    CHECK_DOUBLE(pytheus_timer_stop(&in_a), 1);
    CHECK_DOUBLE(pytheus_timer_stop(&in_b), 2);
    pytheus_registry_free(a);
    pytheus_registry_free(b);
}

TEST(without_a_clock_it_is_the_system_s) {
    pytheus_registry *r = backends_registry(NULL);
    pytheus_gauge g = GAUGE(r, .name = "x");
    pytheus_timer t = pytheus_timer_start(g.view);
    double seconds = pytheus_timer_stop(&t);
    CHECK(seconds >= 0 && seconds < 60);
    CHECK_VALUE(g, seconds);
    pytheus_registry_free(r);
}

/* ---- timed scopes ---- */

TEST_WITH(r, pytheus_gauge_time) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    PYTHEUS_TIME(g) {
        now += 0.5;
    }
    CHECK_VALUE(g, 0.5);
}

TEST_WITH(r, pytheus_histogram_time) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        now += 0.5;
    }
    CHECK_LATENCY(r, 1, 0.5);
}

TEST_WITH(r, pytheus_summary_time) {
    pytheus_summary s = SUMMARY(r, .name = "latency_seconds");
    PYTHEUS_TIME(s) {
        now += 0.5;
    }
    CHECK_LATENCY(r, 1, 0.5);
}

/* A decorator is a scope that begins with the function. */
static void timed_function(pytheus_histogram h) {
    PYTHEUS_TIME_SCOPE(h);
    now += 1;
}

TEST_WITH(r, pytheus_histogram_as_decorator) {
    timed_function(latency(r));
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, pytheus_histogram_as_decorator_multiple) {
    timed_function(latency(r));
    timed_function(latency(r));
    CHECK_LATENCY(r, 2, 2);
}

TEST_WITH(r, pytheus_gauge_as_decorator) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    PYTHEUS_TIME_SCOPE(g);
    now += 1;
    CHECK_VALUE(g, 0);
}

TEST_WITH(r, client_core_gauge_time_block_decorator) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    PYTHEUS_TIME(g) {
        now += 0.001;
    }
    CHECK_SAMPLE(r, "g", 0.001);
}

TEST_WITH(r, client_core_gauge_time_block_decorator_with_label) {
    pytheus_gauge g = GAUGE(r, .name = "g1", .required_labels = {"label1"});
    PYTHEUS_TIME(pytheus_gauge_labels(g, "label1", "foo")) {
        now += 0.001;
    }
    CHECK_LABELLED(r, "g1", 0.001, "label1", "foo");
}

TEST_WITH(r, client_core_summary_block_decorator) {
    pytheus_summary s = SUMMARY(r, .name = "latency_seconds");
    CHECK_LATENCY(r, 0, 0);
    PYTHEUS_TIME(s) {
    }
    CHECK_LATENCY(r, 1, 0);
}

TEST_WITH(r, client_core_summary_block_decorator_with_label) {
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"label1"});
    pytheus_timer t = pytheus_timer_start(s.view);
    pytheus_timer_to(&t, pytheus_summary_labels(s, "label1", "foo").view);
    pytheus_timer_stop(&t);
    CHECK_LABELLED(r, "s_count", 1, "label1", "foo");
}

TEST_WITH(r, client_core_summary_timer_duration_exposed) {
    pytheus_timer t = pytheus_timer_start(latency(r).view);
    now += 0.01;
    CHECK_DOUBLE(pytheus_timer_stop(&t), 0.01);
}

static void timed_recursion(pytheus_summary s, int depth) {
    PYTHEUS_TIME_SCOPE(s);
    now += 1;
    if (depth < 2)
        timed_recursion(s, depth + 1);
}

TEST_WITH(r, client_core_summary_function_decorator_reentrancy) {
    timed_recursion(SUMMARY(r, .name = "latency_seconds"), 1);
    CHECK_LATENCY(r, 2, 3);
}

static pytheus_summary outer_summary, inner_summary;

static void *time_three_times(void *unused) {
    for (int i = 0; i < 3; i++) {
        PYTHEUS_TIME_SCOPE(outer_summary);
        PYTHEUS_TIME_SCOPE(inner_summary);
    }
    return unused;
}

TEST(client_core_summary_function_decorator_multithread) {
    pthread_t threads[3];
    pytheus_registry *r = backends_registry(NULL);
    outer_summary = SUMMARY(r, .name = "s");
    inner_summary = SUMMARY(r, .name = "s2");
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, time_three_times, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK_SAMPLE(r, "s_count", 9);
    CHECK_SAMPLE(r, "s2_count", 9);
    CHECK(fixture_value(outer_summary.view) >= fixture_value(inner_summary.view));
    pytheus_registry_free(r);
}

TEST_WITH(r, client_core_histogram_block_decorator) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
    }
    CHECK_LATENCY(r, 1, 0);
    CHECK_LABELLED(r, "latency_seconds_bucket", 1, "le", "+Inf");
}

/* The original refuses to begin; here the block runs, and the error is told at its end. */
TEST_WITH(r, client_core_summary_timer_not_observable) {
    int num_runs = 0;
    pytheus_summary s = SUMMARY(r, .name = "x", .required_labels = {"label"});
    PYTHEUS_TIME(s) {
        num_runs++;
    }
    CHECK_INT(num_runs, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, client_core_gauge_timer_not_observable) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"label"});
    PYTHEUS_TIME(g) {
    }
    CHECK_ERR(logged.err, PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, redis_client_histogram_timeit_wrapper) {
    timed_function(latency(r));
    CHECK_LABELLED(r, "latency_seconds_bucket", 1, "le", "1");
    CHECK_LABELLED(r, "latency_seconds_bucket", 0, "le", "0.5");
}

TEST_WITH(r, a_timed_block_runs_once) {
    int num_runs = 0;
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        num_runs++;
        now += 1;
    }
    CHECK_INT(num_runs, 1);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_ends_at_its_end) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        now += 1;
        CHECK_LATENCY(r, 0, 0);
    }
    now += 1;
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_may_be_one_statement) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h)
        now += 1;
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_survives_break) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        now += 1;
        if (now > 0)
            break;
        now += 10;
    }
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_survives_continue) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        now += 1;
        if (now > 0)
            continue;
        now += 10;
    }
    CHECK_LATENCY(r, 1, 1);
}

static int return_from_block(pytheus_histogram h) {
    PYTHEUS_TIME(h) {
        now += 1;
        if (now > 0)
            return 1;
        now += 10;
    }
    return 2;
}

TEST_WITH(r, a_timed_block_survives_return) {
    CHECK_INT(return_from_block(latency(r)), 1);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_survives_goto) {
    pytheus_histogram h = latency(r);
    PYTHEUS_TIME(h) {
        now += 1;
        if (now > 0)
            goto out;
        now += 10;
    }
    now += 100;
out:
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, break_leaves_the_block_and_not_the_loop_around_it) {
    int num_rounds = 0;
    pytheus_histogram h = latency(r);
    for (int i = 0; i < 3; i++) {
        PYTHEUS_TIME(h) {
            now += 1;
            break;
        }
        num_rounds++;
    }
    CHECK_INT(num_rounds, 3);
    CHECK_LATENCY(r, 3, 3);
}

TEST_WITH(r, timed_blocks_nest_on_one_line) {
    pytheus_histogram h = latency(r);
    pytheus_gauge g = GAUGE(r, .name = "g");
    /* clang-format off */
    PYTHEUS_TIME(h) { now += 1; PYTHEUS_TIME(g) { now += 2; } }
    /* clang-format on */
    CHECK_VALUE(g, 2);
    CHECK_LATENCY(r, 1, 3);
}

TEST_WITH(r, a_timed_block_evaluates_its_metric_once) {
    pytheus_histogram metrics[2] = {latency(r), HISTOGRAM(r, .name = "other")};
    size_t i = 0;
    PYTHEUS_TIME(metrics[i++]) {
        now += 1;
    }
    CHECK_INT(i, 1);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, a_timed_block_runs_on_nothing) {
    int num_runs = 0;
    pytheus_histogram nothing = HISTOGRAM(r, .name = "1x");
    PYTHEUS_TIME(nothing) {
        num_runs++;
    }
    CHECK_INT(num_runs, 1);
}

static void timed_scopes(pytheus_histogram h, pytheus_gauge g) {
    PYTHEUS_TIME_SCOPE(h);
    now += 1;
    {
        PYTHEUS_TIME_SCOPE(g);
        now += 2;
    }
    now += 4;
}

TEST_WITH(r, a_timed_scope_ends_with_its_braces) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    timed_scopes(latency(r), g);
    CHECK_VALUE(g, 2);
    CHECK_LATENCY(r, 1, 7);
}

static int return_from_scope(pytheus_histogram h, int which) {
    PYTHEUS_TIME_SCOPE(h);
    now += 1;
    for (int i = 0; i < 2; i++) {
        if (which == 1)
            return 1;
        if (which == 2)
            break;
        if (which == 3)
            goto out;
    }
    now += 1;
out:
    return which;
}

TEST_WITH(r, a_timed_scope_survives_every_exit) {
    pytheus_histogram h = latency(r);
    return_from_scope(h, 1);
    CHECK_LATENCY(r, 1, 1);
    return_from_scope(h, 2);
    CHECK_LATENCY(r, 2, 3);
    return_from_scope(h, 3);
    CHECK_LATENCY(r, 3, 4);
    return_from_scope(h, 4);
    CHECK_LATENCY(r, 4, 6);
}

TEST_WITH(r, a_timed_scope_in_a_loop_times_every_round) {
    pytheus_histogram h = latency(r);
    for (int i = 0; i < 4; i++) {
        PYTHEUS_TIME_SCOPE(h);
        now += 1;
        if (i == 1)
            continue;
        if (i == 2)
            break;
    }
    CHECK_LATENCY(r, 3, 3);
}

TEST_WITH(r, two_timed_scopes_may_stand_on_one_line) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_histogram h = latency(r);
    {
        /* clang-format off */
        PYTHEUS_TIME_SCOPE(h); PYTHEUS_TIME_SCOPE(g);
        /* clang-format on */
        now += 2;
    }
    CHECK_VALUE(g, 2);
    CHECK_LATENCY(r, 1, 2);
}

/* ---- in progress ---- */

TEST_WITH(r, pytheus_gauge_track_inprogress) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    PYTHEUS_TRACK_INPROGRESS(g) {
        CHECK_VALUE(g, 1);
    }
    CHECK_VALUE(g, 0);
}

TEST_WITH(r, pytheus_gauge_track_inprogress_multiple) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    PYTHEUS_TRACK_INPROGRESS(g) {
    }
    PYTHEUS_TRACK_INPROGRESS(g) {
        PYTHEUS_TRACK_INPROGRESS(g) {
            CHECK_VALUE(g, 2);
        }
    }
    CHECK_VALUE(g, 0);
}

static void tracked_function(pytheus_gauge g) {
    PYTHEUS_TRACK_INPROGRESS_SCOPE(g);
    CHECK_VALUE(g, 1);
}

TEST_WITH(r, pytheus_gauge_as_decorator_with_track_inprogress) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    tracked_function(g);
    CHECK_VALUE(g, 0);
}

TEST_WITH(r, client_core_gauge_inprogress_function_decorator) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    tracked_function(g);
    CHECK_SAMPLE(r, "g", 0);
}

TEST_WITH(r, client_core_gauge_inprogress_block_decorator) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    PYTHEUS_TRACK_INPROGRESS(g) {
        CHECK_SAMPLE(r, "g", 1);
    }
    CHECK_SAMPLE(r, "g", 0);
}

TEST_WITH(r, client_core_gauge_track_in_progress_not_observable) {
    int num_runs = 0;
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"label"});
    PYTHEUS_TRACK_INPROGRESS(g) {
        num_runs++;
    }
    CHECK_INT(num_runs, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_PAGE(r, "# TYPE x gauge\n");
}

static int leave_progress(pytheus_gauge g, int which) {
    PYTHEUS_TRACK_INPROGRESS(g) {
        CHECK_VALUE(g, 1);
        if (which == 1)
            return 1;
        if (which == 2)
            break;
        if (which == 3)
            continue;
        if (which == 4)
            goto out;
    }
out:
    CHECK_VALUE(g, 0);
    return which;
}

TEST_WITH(r, progress_ends_on_every_exit) {
    pytheus_gauge g = GAUGE(r, .name = "x");
    for (int which = 0; which <= 4; which++) {
        CHECK_INT(leave_progress(g, which), which);
        CHECK_VALUE(g, 0);
    }
}

static int leave_progress_scope(pytheus_gauge g, int which) {
    PYTHEUS_TRACK_INPROGRESS_SCOPE(g);
    if (which == 1)
        return 1;
    if (which == 2)
        goto out;
    CHECK_VALUE(g, 1);
out:
    return which;
}

TEST_WITH(r, a_progress_scope_ends_on_every_exit) {
    pytheus_gauge g = GAUGE(r, .name = "x");
    for (int which = 0; which <= 2; which++) {
        CHECK_INT(leave_progress_scope(g, which), which);
        CHECK_VALUE(g, 0);
    }
}

TEST_WITH(r, progress_and_time_nest_on_one_line) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_histogram h = latency(r);
    /* clang-format off */
    PYTHEUS_TRACK_INPROGRESS(g) PYTHEUS_TIME(h) { now += 1; CHECK_VALUE(g, 1); }
    /* clang-format on */
    CHECK_VALUE(g, 0);
    CHECK_LATENCY(r, 1, 1);
}

TEST_WITH(r, progress_of_a_series_that_goes_away_does_not_touch_the_next) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge view = pytheus_gauge_labels(g, "a", "1");
    PYTHEUS_TRACK_INPROGRESS(view) {
        pytheus_view_remove(view.view);
        pytheus_gauge_labels(g, "a", "1");
    }
    CHECK_LABELLED(r, "x", 0, "a", "1");
}

TEST_WITH(r, progress_on_nothing_runs_the_block_once) {
    int num_runs = 0;
    pytheus_gauge nothing = GAUGE(r, .name = "1x");
    PYTHEUS_TRACK_INPROGRESS(nothing) {
        num_runs++;
    }
    CHECK_INT(num_runs, 1);
}

/* ---- errors counted ---- */

static int num_calls;

static int fail_with(int result, int number) {
    num_calls++;
    errno = number;
    return result;
}

/* C's exception is a return value. */
TEST_WITH(r, pytheus_counter_count_exception) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(-1, EINVAL)), -1);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_counter_count_exception_with_specified) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, EINVAL), ERANGE, EINVAL), -1);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_counter_count_exception_with_specified_is_ignored) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, EINVAL), ERANGE), -1);
    CHECK_VALUE(c, 0);
}

static int counted_function(pytheus_counter c) {
    return PYTHEUS_COUNT_ERRORS(c, fail_with(-1, EINVAL));
}

TEST_WITH(r, pytheus_counter_count_exception_with_decorator) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_INT(counted_function(c), -1);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_counter_count_exception_with_decorator_multiple) {
    pytheus_counter c = COUNTER(r, .name = "name");
    counted_function(c);
    counted_function(c);
    CHECK_VALUE(c, 2);
}

static int counted_errno_function(pytheus_counter c, int number) {
    return PYTHEUS_COUNT_ERRNO(c, fail_with(-1, number), ERANGE, EINVAL);
}

TEST_WITH(r, pytheus_counter_count_exception_with_specified_as_decorator) {
    pytheus_counter c = COUNTER(r, .name = "name");
    counted_errno_function(c, EINVAL);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_counter_count_exception_with_specified_is_ignored_as_decorator) {
    pytheus_counter c = COUNTER(r, .name = "name");
    counted_errno_function(c, ENOENT);
    CHECK_VALUE(c, 0);
}

TEST_WITH(r, client_core_counter_block_decorator) {
    pytheus_counter c = COUNTER(r, .name = "c_total");
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(0, 0)), 0);
    CHECK_SAMPLE(r, "c_total", 0);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(-7, 0)), -7);
    CHECK_SAMPLE(r, "c_total", 1);
}

TEST_WITH(r, client_core_counter_count_exceptions_not_observable) {
    pytheus_counter c = COUNTER(r, .name = "counter", .required_labels = {"label"});
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(-1, 0)), -1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, errors_are_counted_on_every_signed_type) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    const signed char a = -1;
    const short b = -2;
    const long d = -4;
    const long long e = -5000000000;
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, a), -1);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, b), -2);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, -3), -3);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, d), -4);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, e), -5000000000);
    CHECK_VALUE(c, 5);
}

TEST_WITH(r, successes_are_counted_on_no_type) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    const signed char a = 0;
    const short b = 1;
    const long d = 2147483647;
    const long long e = 5000000000;
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, a), 0);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, b), 1);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, 3), 3);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, d), d);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, e), 5000000000);
    CHECK_VALUE(c, 0);
}

TEST_WITH(r, a_null_pointer_is_an_error) {
    static const char text[] = "text";
    pytheus_counter c = COUNTER(r, .name = "x_total");
    const char *found = PYTHEUS_COUNT_ERRORS(c, strchr(text, 'x'));
    CHECK_STR(found, "xt");
    found = PYTHEUS_COUNT_ERRORS(c, strchr(text, 'z'));
    CHECK(found == NULL);
    void *memory = PYTHEUS_COUNT_ERRORS(c, (void *)NULL);
    CHECK(memory == NULL);
    CHECK_VALUE(c, 2);
}

TEST_WITH(r, the_expression_is_evaluated_once) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    num_calls = 0;
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(-1, 0)), -1);
    CHECK_INT(PYTHEUS_COUNT_IF(c, fail_with(5, 0), _result == 5), 5);
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, ENOENT), ENOENT), -1);
    CHECK_INT(num_calls, 3);
    CHECK_VALUE(c, 3);
}

TEST_WITH(r, counted_calls_nest) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(PYTHEUS_COUNT_ERRORS(c, fail_with(-2, 0)), 0)), -2);
    CHECK_VALUE(c, 2);
}

TEST_WITH(r, a_condition_decides_on_any_type) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_INT(PYTHEUS_COUNT_IF(c, 500u, _result >= 500), 500);
    CHECK_INT(PYTHEUS_COUNT_IF(c, 499u, _result >= 500), 499);
    CHECK(!PYTHEUS_COUNT_IF(c, false, !_result));
    CHECK_DOUBLE(PYTHEUS_COUNT_IF(c, 0.5, _result > 1), 0.5);
    CHECK_STR(PYTHEUS_COUNT_IF(c, "text", _result[0] == 't'), "text");
    CHECK_VALUE(c, 3);
}

TEST_WITH(r, only_failures_are_looked_up_in_errno) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(0, ENOENT), ENOENT), 0);
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(3, ENOENT), ENOENT), 3);
    CHECK_VALUE(c, 0);
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, ENOENT), EINTR, EAGAIN, ENOENT), -1);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, errno_is_what_the_expression_left) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    int result = PYTHEUS_COUNT_ERRNO(c, fail_with(-1, ENOENT), ENOENT);
    CHECK_INT(errno, ENOENT);
    result += PYTHEUS_COUNT_ERRORS(c, fail_with(-1, EINTR));
    CHECK_INT(errno, EINTR);
    CHECK_INT(result, -2);
}

TEST_WITH(r, errors_are_counted_without_macros_too) {
    int thing = 0;
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_INT(pytheus_count_int(c, -5000000000), -5000000000);
    CHECK_INT(pytheus_count_int(c, 0), 0);
    CHECK_INT(pytheus_count_int(c, 7), 7);
    CHECK(pytheus_count_ptr(c, NULL) == NULL);
    CHECK(pytheus_count_ptr(c, &thing) == &thing);
    CHECK_VALUE(c, 2);
}

TEST_WITH(r, errors_counted_on_nothing_are_yielded_all_the_same) {
    pytheus_counter nothing = COUNTER(r, .name = "1x");
    CHECK_INT(PYTHEUS_COUNT_ERRORS(nothing, fail_with(-1, 0)), -1);
    CHECK_INT(PYTHEUS_COUNT_IF(nothing, 5, true), 5);
    CHECK_INT(pytheus_count_int(nothing, -1), -1);
    CHECK(pytheus_count_ptr(nothing, NULL) == NULL);
}

/* ---- views cached at a call site ---- */

static pytheus_counter not_found(pytheus_counter c) {
    return PYTHEUS_AT(counter, c, "code", "404");
}

static pytheus_counter requests(pytheus_registry *r) {
    return COUNTER(r, .name = "x_total", .required_labels = {"method", "code"},
                   .default_labels = {{"method", "GET"}});
}

TEST_WITH(r, a_call_site_gives_the_view) {
    pytheus_counter c = requests(r);
    CHECK_SAME(not_found(c), pytheus_counter_labels(c, "code", "404"));
    CHECK_SAME(not_found(c), not_found(c));
}

TEST_WITH(r, a_call_site_counts_in_a_loop) {
    pytheus_counter c = requests(r);
    for (int i = 0; i < 100; i++)
        pytheus_counter_inc(PYTHEUS_AT(counter, c, "code", "500", "method", "PUT"));
    CHECK_LABELLED(r, "x_total", 100, "method", "PUT", "code", "500");
}

TEST_WITH(r, a_call_site_makes_a_removed_series_anew) {
    pytheus_counter c = requests(r);
    for (int i = 0; i < 5; i++) {
        CHECK_ERR(pytheus_counter_inc(not_found(c)), PYTHEUS_OK);
        CHECK_PAGE(r, "# TYPE x_total counter\nx_total{method=\"GET\",code=\"404\"} 1\n");
        pytheus_view_remove(not_found(c).view);
    }
}

TEST_WITH(r, a_call_site_never_mixes_metrics_up) {
    pytheus_counter a = COUNTER(r, .name = "a_total", .required_labels = {"code"});
    pytheus_counter b = COUNTER(r, .name = "b_total", .required_labels = {"code"});
    for (int i = 0; i < 10; i++) {
        pytheus_counter_inc(not_found(a));
        pytheus_counter_add(not_found(b), 2);
        pytheus_counter_add(not_found(b), 3);
    }
    CHECK_LABELLED(r, "a_total", 10, "code", "404");
    CHECK_LABELLED(r, "b_total", 50, "code", "404");
}

TEST_WITH(r, a_call_site_never_mixes_views_up) {
    pytheus_counter c = requests(r);
    pytheus_counter put = pytheus_counter_labels(c, "method", "PUT");
    for (int i = 0; i < 10; i++) {
        pytheus_counter_inc(not_found(c));
        pytheus_counter_add(not_found(put), 2);
    }
    CHECK_LABELLED(r, "x_total", 10, "method", "GET", "code", "404");
    CHECK_LABELLED(r, "x_total", 20, "method", "PUT", "code", "404");
}

TEST(a_call_site_outlives_its_registry) {
    for (int i = 0; i < 5; i++) {
        pytheus_registry *r = fixture_registry(NULL);
        pytheus_counter_inc(not_found(requests(r)));
        pytheus_counter_inc(not_found(requests(r)));
        CHECK_LABELLED(r, "x_total", 2, "code", "404");
        pytheus_registry_free(r);
    }
}

TEST(a_call_site_serves_two_registries) {
    pytheus_registry *a = fixture_registry(NULL), *b = fixture_registry(NULL);
    for (int i = 0; i < 3; i++) {
        pytheus_counter_inc(not_found(requests(a)));
        pytheus_counter_add(not_found(requests(b)), 2);
    }
    CHECK_LABELLED(a, "x_total", 3, "code", "404");
    CHECK_LABELLED(b, "x_total", 6, "code", "404");
    pytheus_registry_free(a);
    pytheus_counter_inc(not_found(requests(b)));
    CHECK_LABELLED(b, "x_total", 7, "code", "404");
    pytheus_registry_free(b);
}

TEST_WITH(r, a_call_site_with_a_bad_label_gives_nothing) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    CHECK_NOTHING(not_found(c));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK_NOTHING(not_found(COUNTER(r, .name = "1x")));
}

TEST_WITH(r, two_call_sites_may_stand_on_one_line) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_gauge both[] = {PYTHEUS_AT(gauge, g, "a", "1"), PYTHEUS_AT(gauge, g, "a", "2")};
    pytheus_gauge_inc(both[0]);
    pytheus_gauge_dec(both[1]);
    CHECK_LABELLED(r, "g", 1, "a", "1");
    CHECK_LABELLED(r, "g", -1, "a", "2");
}

TEST_WITH(r, a_call_site_works_on_every_type) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"a"});
    pytheus_histogram_observe(PYTHEUS_AT(histogram, h, "a", "1"), 2);
    pytheus_summary_observe(PYTHEUS_AT(summary, s, "a", "1"), 3);
    CHECK_LABELLED(r, "h_sum", 2, "a", "1");
    CHECK_LABELLED(r, "s_sum", 3, "a", "1");
}

TEST_WITH(r, a_call_site_sees_the_removal_of_its_partial_view) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"code", "method"});
    CHECK(!pytheus_view_observable(not_found(c).view));
    pytheus_view_remove(not_found(c).view);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(not_found(c), "method", "GET")),
              PYTHEUS_OK);
}
