/* What a registry holds: whose names they are, which metric is which, and one sample's value. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

/* ---- registries ---- */

TEST(pytheus_registry_can_create_collector_registry) {
    pytheus_registry *r = pytheus_registry_new(NULL);
    CHECK(r != NULL);
    CHECK_PAGE(r, "");
    pytheus_registry_free(r);
}

TEST(pytheus_registry_can_create_collector_registry_with_prefix) {
    pytheus_registry *r = fixture_registry("myprefix");
    COUNTER(r, .name = "name");
    CHECK_PAGE(r, "# TYPE myprefix_name counter\nmyprefix_name 0\n");
    pytheus_registry_free(r);
}

TEST_WITH(r, pytheus_registry_register_metric) {
    COUNTER(r, .name = "name");
    CHECK_PAGE(r, "# TYPE name counter\nname 0\n");
}

/* The second, of the same definition, is the first here; another one is refused. */
TEST_WITH(r, pytheus_registry_register_metric_duplicate_name_is_ignored) {
    pytheus_counter first = COUNTER(r, .name = "name");
    CHECK_SAME(COUNTER(r, .name = "name"), first);
    CHECK_NOTHING(GAUGE(r, .name = "name"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    CHECK_PAGE(r, "# TYPE name counter\nname 0\n");
}

TEST_WITH(r, pytheus_registry_collect_with_multiple_metrics) {
    COUNTER(r, .name = "counter");
    SUMMARY(r, .name = "summary");
    CHECK_PAGE(r, "# TYPE counter counter\n"
                  "counter 0\n"
                  "# TYPE summary summary\n"
                  "summary_sum 0\n"
                  "summary_count 0\n");
}

TEST_WITH(r, pytheus_registry_collect_with_labeled_metrics) {
    pytheus_counter c = COUNTER(r, .name = "name", .required_labels = {"bob", "cat"});
    pytheus_counter_labels(c, "bob", "2", "cat", "3");
    CHECK_PAGE(r, "# TYPE name counter\nname{bob=\"2\",cat=\"3\"} 0\n");
}

TEST_WITH(r, pytheus_registry_collect_with_labeled_metrics_unobservable) {
    COUNTER(r, .name = "name", .required_labels = {"bob", "cat"});
    CHECK_PAGE(r, "# TYPE name counter\n");
}

TEST_WITH(r, pytheus_metrics_create_metric_without_registering_to_default_collector) {
    pytheus_counter c = COUNTER(r, .name = "name", .unregistered = true);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_metrics_collector_created_on_metric_creation) {
    COUNTER(r, .name = "name", .help = "desc", .required_labels = {"a", "b"});
    CHECK_PAGE(r, "# HELP name desc\n# TYPE name counter\n");
}

TEST_WITH(r, pytheus_metrics_collector_reused_on_new_metric_instance) {
    CHECK_SAME(COUNTER(r, .name = "name", .required_labels = {"a", "b"}),
               COUNTER(r, .name = "name", .required_labels = {"a", "b"}));
}

TEST(registries_do_not_share_names) {
    pytheus_registry *a = fixture_registry(NULL), *b = fixture_registry(NULL);
    pytheus_counter in_a = COUNTER(a, .name = "x_total");
    pytheus_counter in_b = COUNTER(b, .name = "x_total");
    CHECK_DIFFERENT(in_a, in_b);
    pytheus_counter_inc(in_a);
    CHECK_VALUE(in_b, 0);
    CHECK_ERR(pytheus_gauge_set(GAUGE(b, .name = "y"), 1), PYTHEUS_OK);
    CHECK_PAGE(a, "# TYPE x_total counter\nx_total 1\n");
    pytheus_registry_free(a);
    CHECK_ERR(pytheus_counter_inc(in_b), PYTHEUS_OK);
    pytheus_registry_free(b);
}

TEST_WITH(r, a_metric_without_labels_is_there_from_the_start) {
    COUNTER(r, .name = "c_total");
    GAUGE(r, .name = "g");
    SUMMARY(r, .name = "s");
    CHECK_LINE(r, "c_total 0");
    CHECK_LINE(r, "g 0");
    CHECK_LINE(r, "s_count 0");
}

TEST_WITH(r, an_unregistered_metric_takes_no_name) {
    pytheus_gauge off = GAUGE(r, .name = "x", .unregistered = true);
    pytheus_counter on = COUNTER(r, .name = "x");
    CHECK_ERR(pytheus_gauge_set(off, -5), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(on), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x counter\nx 1\n");
    CHECK_VALUE(off, -5);
}

TEST_WITH(r, an_unregistered_metric_is_validated) {
    CHECK_NOTHING(GAUGE(r, .name = "1x", .unregistered = true));
    CHECK_NOTHING(GAUGE(r, .name = "x", .required_labels = {"a", "a"}, .unregistered = true));
}

TEST_WITH(r, an_unregistered_metric_has_views) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"}, .unregistered = true);
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 4);
    CHECK_VALUE(pytheus_gauge_labels(g, "a", "1"), 4);
    CHECK_ERR(pytheus_view_clear(g.view), PYTHEUS_OK);
    CHECK_PAGE(r, "");
}

/* ---- the default registry ---- */

TEST(the_default_registry_needs_no_setting_up) {
    pytheus_counter c = COUNTER(NULL, .name = "default_total");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_PAGE(pytheus_default(), "# TYPE default_total counter\ndefault_total 1\n");
    CHECK_PAGE(NULL, "# TYPE default_total counter\ndefault_total 1\n");
    CHECK_SAMPLE(NULL, "default_total", 1);
    pytheus_registry_free(pytheus_default());
}

TEST(the_default_registry_is_one) {
    CHECK(pytheus_default() != NULL);
    CHECK(pytheus_default() == pytheus_default());
    CHECK_SAME(COUNTER(NULL, .name = "x_total"), COUNTER(pytheus_default(), .name = "x_total"));
    pytheus_registry_free(pytheus_default());
}

TEST(the_default_registry_can_be_used_after_it_was_freed) {
    for (int i = 0; i < 3; i++) {
        pytheus_gauge_inc(GAUGE(NULL, .name = "x"));
        CHECK_PAGE(NULL, "# TYPE x gauge\nx 1\n");
        pytheus_registry_free(pytheus_default());
        CHECK_PAGE(NULL, "");
    }
}

TEST(the_default_registry_is_not_that_of_others) {
    pytheus_registry *r = fixture_registry(NULL);
    GAUGE(r, .name = "x");
    CHECK(r != pytheus_default());
    CHECK_PAGE(NULL, "");
    pytheus_registry_free(r);
}

/* ---- the same metric again ---- */

TEST_WITH(r, the_same_definition_is_the_same_metric) {
    CHECK_SAME(GAUGE(r, .name = "g"), GAUGE(r, .name = "g"));
    CHECK_SAME(COUNTER(r, .name = "c_total"), COUNTER(r, .name = "c_total"));
    CHECK_SAME(HISTOGRAM(r, .name = "h"), HISTOGRAM(r, .name = "h"));
    CHECK_SAME(SUMMARY(r, .name = "s"), SUMMARY(r, .name = "s"));
    CHECK_INT(logged.num, 0);
}

TEST_WITH(r, the_same_metric_keeps_its_value) {
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 2\n");
}

TEST_WITH(r, the_same_labels_and_defaults_are_the_same_metric) {
    pytheus_counter first = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                                    .default_labels = {{"a", "1"}, {"b", "2"}});
    CHECK_SAME(COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                       .default_labels = {{"a", "1"}, {"b", "2"}}),
               first);
    CHECK_SAME(COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                       .default_labels = {{"b", "2"}, {"a", "1"}}),
               first);
}

TEST_WITH(r, the_same_buckets_are_the_same_metric) {
    const double bounds[] = {1, 2, (double)INFINITY}, zero[] = {0}, minus_zero[] = {-0.0};
    static const double standard[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
    CHECK_SAME(HISTOGRAM(r, .name = "x", .buckets = bounds, .num_buckets = 2),
               HISTOGRAM(r, .name = "x", .buckets = bounds, .num_buckets = 3));
    CHECK_SAME(HISTOGRAM(r, .name = "y"),
               HISTOGRAM(r, .name = "y", .buckets = standard, .num_buckets = 11));
    CHECK_SAME(HISTOGRAM(r, .name = "z", .buckets = zero, .num_buckets = 1),
               HISTOGRAM(r, .name = "z", .buckets = minus_zero, .num_buckets = 1));
}

TEST_WITH(r, another_help_is_the_same_metric_with_the_first_help) {
    pytheus_gauge first = GAUGE(r, .name = "x", .help = "First.");
    CHECK_SAME(GAUGE(r, .name = "x", .help = "Second."), first);
    CHECK_SAME(GAUGE(r, .name = "x"), first);
    CHECK_PAGE(r, "# HELP x First.\n# TYPE x gauge\nx 0\n");
}

TEST_WITH(r, another_unit_is_the_same_metric) {
    pytheus_gauge first = GAUGE(r, .name = "x_seconds", .unit = "seconds");
    CHECK_SAME(GAUGE(r, .name = "x_seconds"), first);
}

TEST_WITH(r, another_maximum_of_series_is_the_same_metric) {
    pytheus_gauge first = GAUGE(r, .name = "x", .required_labels = {"a"}, .max_series = 5);
    CHECK_SAME(GAUGE(r, .name = "x", .required_labels = {"a"}, .max_series = 6), first);
}

/* The error with which a registry that holds the first definition refuses the second. */
static pytheus_err second_refusal(pytheus_type first_type, pytheus_desc first,
                                  pytheus_type second_type, pytheus_desc second) {
    pytheus_registry *registry = fixture_registry(NULL);
    first.registry = second.registry = registry;
    CHECK(fixture_new(first_type, &first).node != NULL);
    char *before = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    bool made = fixture_new(second_type, &second).node != NULL;
    char *after = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    if (!made)
        CHECK_STR(after, before);
    pytheus_free(before);
    pytheus_free(after);
    pytheus_registry_free(registry);
    return made ? PYTHEUS_OK : logged.err;
}

/* Both ways round. */
static void check_mismatch(pytheus_type first_type, pytheus_desc first, pytheus_type second_type,
                           pytheus_desc second, int line) {
    check_err((int)second_refusal(first_type, first, second_type, second),
              (int)PYTHEUS_ERR_DUPLICATE, "refusal of the second", __FILE__, line);
    check_err((int)second_refusal(second_type, second, first_type, first),
              (int)PYTHEUS_ERR_DUPLICATE, "refusal of the first", __FILE__, line);
}
#define DESC(...) ((pytheus_desc){__VA_ARGS__})
#define CHECK_MISMATCH(first_type, first, second_type, second)                                     \
    check_mismatch(PYTHEUS_##first_type, first, PYTHEUS_##second_type, second, __LINE__)

TEST(another_type_is_a_duplicate) {
    CHECK_MISMATCH(COUNTER, DESC(.name = "x"), GAUGE, DESC(.name = "x"));
    CHECK_MISMATCH(COUNTER, DESC(.name = "x"), HISTOGRAM, DESC(.name = "x"));
    CHECK_MISMATCH(COUNTER, DESC(.name = "x"), SUMMARY, DESC(.name = "x"));
    CHECK_MISMATCH(GAUGE, DESC(.name = "x"), HISTOGRAM, DESC(.name = "x"));
    CHECK_MISMATCH(GAUGE, DESC(.name = "x"), SUMMARY, DESC(.name = "x"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "x"), SUMMARY, DESC(.name = "x"));
}

TEST(other_labels_are_a_duplicate) {
    const pytheus_desc ab = {.name = "x", .required_labels = {"a", "b"}};
    CHECK_MISMATCH(COUNTER, ab, COUNTER, DESC(.name = "x", .required_labels = {"a"}));
    CHECK_MISMATCH(COUNTER, ab, COUNTER, DESC(.name = "x", .required_labels = {"a", "c"}));
    CHECK_MISMATCH(COUNTER, ab, COUNTER, DESC(.name = "x"));
}

TEST(labels_in_another_order_are_a_duplicate) {
    CHECK_MISMATCH(GAUGE, DESC(.name = "x", .required_labels = {"a", "b"}), GAUGE,
                   DESC(.name = "x", .required_labels = {"b", "a"}));
}

TEST(other_defaults_are_a_duplicate) {
    const pytheus_desc one = {
        .name = "x", .required_labels = {"a", "b"}, .default_labels = {{"a", "1"}}};
    CHECK_MISMATCH(GAUGE, one, GAUGE, DESC(.name = "x", .required_labels = {"a", "b"}));
    CHECK_MISMATCH(
        GAUGE, one, GAUGE,
        DESC(.name = "x", .required_labels = {"a", "b"}, .default_labels = {{"a", "2"}}));
    CHECK_MISMATCH(
        GAUGE, one, GAUGE,
        DESC(.name = "x", .required_labels = {"a", "b"}, .default_labels = {{"b", "1"}}));
    CHECK_MISMATCH(GAUGE, one, GAUGE,
                   DESC(.name = "x", .required_labels = {"a", "b"},
                        .default_labels = {{"a", "1"}, {"b", "1"}}));
}

TEST(other_buckets_are_a_duplicate) {
    const double one[] = {1}, two[] = {1, 2}, other[] = {1, 3};
    const pytheus_desc first = {.name = "x", .buckets = two, .num_buckets = 2};
    CHECK_MISMATCH(HISTOGRAM, first, HISTOGRAM, DESC(.name = "x"));
    CHECK_MISMATCH(HISTOGRAM, first, HISTOGRAM,
                   DESC(.name = "x", .buckets = one, .num_buckets = 1));
    CHECK_MISMATCH(HISTOGRAM, first, HISTOGRAM,
                   DESC(.name = "x", .buckets = other, .num_buckets = 2));
}

TEST_WITH(r, a_bad_definition_of_a_known_metric_is_refused) {
    pytheus_counter first = COUNTER(r, .name = "x", .required_labels = {"a"});
    CHECK_NOTHING(COUNTER(r, .name = "x", .required_labels = {"a", "a"}));
    CHECK_NOTHING(COUNTER(r, .name = "x", .required_labels = {"a"}, .unit = "bytes"));
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(first, "a", "1")), PYTHEUS_OK);
}

TEST_WITH(r, a_refused_duplicate_leaves_the_first_counting) {
    pytheus_counter first = COUNTER(r, .name = "x");
    CHECK_NOTHING(GAUGE(r, .name = "x"));
    CHECK_ERR(pytheus_counter_inc(first), PYTHEUS_OK);
    CHECK_SAME(COUNTER(r, .name = "x"), first);
    CHECK_PAGE(r, "# TYPE x counter\nx 1\n");
}

/* ---- names that follow from names ---- */

/* The original also refuses the same metric twice, which is the same metric here. */
TEST(client_core_registry_duplicate_metrics_raises) {
    CHECK_MISMATCH(COUNTER, DESC(.name = "c_total"), GAUGE, DESC(.name = "c_total"));
    CHECK_MISMATCH(COUNTER, DESC(.name = "c_total"), GAUGE, DESC(.name = "c_created"));
    CHECK_MISMATCH(GAUGE, DESC(.name = "g_created"), COUNTER, DESC(.name = "g"));
    CHECK_MISMATCH(SUMMARY, DESC(.name = "s"), GAUGE, DESC(.name = "s_created"));
    CHECK_MISMATCH(SUMMARY, DESC(.name = "s"), GAUGE, DESC(.name = "s_sum"));
    CHECK_MISMATCH(SUMMARY, DESC(.name = "s"), GAUGE, DESC(.name = "s_count"));
    CHECK_MISMATCH(SUMMARY, DESC(.name = "s"), GAUGE, DESC(.name = "s"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), SUMMARY, DESC(.name = "h"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), GAUGE, DESC(.name = "h_count"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), GAUGE, DESC(.name = "h_sum"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), GAUGE, DESC(.name = "h_bucket"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), GAUGE, DESC(.name = "h_created"));
    CHECK_MISMATCH(HISTOGRAM, DESC(.name = "h"), GAUGE, DESC(.name = "h"));
}

/* What a metric of that type and name claims, "" after the last. */
static void claims(pytheus_type type, const char *name, char out[6][64]) {
    static const char *const suffixes[][6] = {
        [PYTHEUS_COUNTER] = {"", "_total", "_created"},
        [PYTHEUS_GAUGE] = {""},
        [PYTHEUS_INFO] = {"", "_info"},
        [PYTHEUS_STATESET] = {""},
        [PYTHEUS_UNKNOWN] = {""},
        [PYTHEUS_HISTOGRAM] = {"", "_bucket", "_sum", "_count", "_created"},
        [PYTHEUS_SUMMARY] = {"", "_sum", "_count", "_created"},
    };
    const char *ending = type == PYTHEUS_COUNTER ? "_total" : "_info";
    size_t size = strlen(name), ending_size = strlen(ending), n = 0;
    if ((type == PYTHEUS_COUNTER || type == PYTHEUS_INFO) && size > ending_size &&
        !strcmp(name + size - ending_size, ending))
        size -= ending_size;
    for (size_t i = 0; i < 6 && suffixes[type][i]; i++)
        snprintf(out[n++], 64, "%.*s%s", (int)size, name, suffixes[type][i]);
    out[n][0] = 0;
}

static bool claim_alike(pytheus_type a, const char *name_a, pytheus_type b, const char *name_b) {
    char of_a[6][64], of_b[6][64];
    claims(a, name_a, of_a);
    claims(b, name_b, of_b);
    for (size_t i = 0; of_a[i][0]; i++)
        for (size_t j = 0; of_b[j][0]; j++)
            if (!strcmp(of_a[i], of_b[j]))
                return true;
    return false;
}

static pytheus_desc named(pytheus_type type, const char *name) {
    pytheus_desc desc = {.name = name};
    desc.states[0] = type == PYTHEUS_STATESET ? "on" : NULL;
    return desc;
}

static void check_collision(pytheus_type a, const char *name_a, pytheus_type b,
                            const char *name_b) {
    static const char *const types[] = {"",         "counter", "gauge",     "info",
                                        "stateset", "unknown", "histogram", "summary"};
    char what[160];
    snprintf(what, sizeof what, "%s %s after %s %s", types[b], name_b, types[a], name_a);
    bool same = a == b && !strcmp(name_a, name_b);
    pytheus_err expected =
        !same && claim_alike(a, name_a, b, name_b) ? PYTHEUS_ERR_DUPLICATE : PYTHEUS_OK;
    pytheus_err got = second_refusal(a, named(a, name_a), b, named(b, name_b));
    check_err((int)got, (int)expected, what, __FILE__, __LINE__);
}

TEST(all_pairs_of_types_and_names_collide_as_they_should) {
    static const char *const names[] = {"x",       "x_total", "x_created", "x_bucket",    "x_sum",
                                        "x_count", "x_info",  "xtotal",    "x_total_sum", "y"};
    const size_t num_types = PYTHEUS_SUMMARY, n = num_types * COUNT_OF(names);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            check_collision((pytheus_type)(i % num_types + 1), names[i / num_types],
                            (pytheus_type)(j % num_types + 1), names[j / num_types]);
}

TEST_WITH(r, a_refused_name_takes_no_part_of_its_names) {
    GAUGE(r, .name = "h_count");
    CHECK_NOTHING(HISTOGRAM(r, .name = "h"));
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "h_sum"), 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "h_bucket"), 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "h"), 1), PYTHEUS_OK);
}

TEST_WITH(r, many_metrics_keep_their_names) {
    char name[32];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "metric_%d_total", i);
        pytheus_counter_add(COUNTER(r, .name = name), i);
    }
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "metric_%d_total", i);
        CHECK_SAMPLE(r, name, i);
        snprintf(name, sizeof name, "metric_%d", i);
        CHECK_NOTHING(GAUGE(r, .name = name));
    }
}

/* ---- prefixes ---- */

TEST(client_core_metric_wrapper_namespace_subsystem_concatenated) {
    pytheus_registry *r = fixture_registry("a_b");
    pytheus_counter_inc(COUNTER(r, .name = "c_total"));
    CHECK_SAMPLE(r, "a_b_c_total", 1);
    pytheus_registry_free(r);
}

TEST(a_prefix_is_part_of_every_exposed_name) {
    pytheus_registry *r = fixture_registry("app");
    HISTOGRAM(r, .name = "h", .help = "Help.", .buckets = (const double[]){1}, .num_buckets = 1);
    SUMMARY(r, .name = "s");
    CHECK_PAGE(r, "# HELP app_h Help.\n"
                  "# TYPE app_h histogram\n"
                  "app_h_bucket{le=\"1\"} 0\n"
                  "app_h_bucket{le=\"+Inf\"} 0\n"
                  "app_h_sum 0\n"
                  "app_h_count 0\n"
                  "# TYPE app_s summary\n"
                  "app_s_sum 0\n"
                  "app_s_count 0\n");
    CHECK_LABELLED(r, "app_h_bucket", 0, "le", "1");
    CHECK_SAMPLE(r, "h_count", (double)NAN);
    pytheus_registry_free(r);
}

TEST(a_prefix_does_not_hide_collisions) {
    pytheus_registry *r = fixture_registry("app");
    HISTOGRAM(r, .name = "x");
    CHECK_NOTHING(GAUGE(r, .name = "x_count"));
    CHECK(GAUGE(r, .name = "app_x_count").view.node != NULL);
    CHECK_SAMPLE(r, "app_x_count", 0);
    CHECK_SAMPLE(r, "app_app_x_count", 0);
    pytheus_registry_free(r);
}

TEST(bad_prefixes_make_no_registry) {
    static const char *const bad[] = {"1a", "a b", "a-b", "a\n", "a.b", " ", "\xc3\xa9"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(fixture_registry(bad[i]) == NULL);
}

TEST(the_prefix_pytheus_is_taken) {
    CHECK(fixture_registry("pytheus") == NULL);
    CHECK(fixture_registry("pytheus_x") == NULL);
}

TEST(good_prefixes_make_a_registry) {
    static const char *const good[] = {"a", "a_b", "a:b", "_", "my_pytheus", "pytheusx"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        pytheus_registry *r = fixture_registry(good[i]);
        CHECK(r != NULL);
        if (r)
            pytheus_registry_free(r);
    }
}

TEST(an_empty_prefix_is_none) {
    pytheus_registry *r = fixture_registry("");
    GAUGE(r, .name = "x");
    CHECK_PAGE(r, "# TYPE x gauge\nx 0\n");
    pytheus_registry_free(r);
}

TEST(a_prefix_is_copied) {
    char prefix[] = "app";
    pytheus_registry *r = fixture_registry(prefix);
    memset(prefix, '!', 3);
    GAUGE(r, .name = "x");
    CHECK_PAGE(r, "# TYPE app_x gauge\napp_x 0\n");
    pytheus_registry_free(r);
}

/* ---- one sample ---- */

#define CHECK_SAMPLE_ERR(r, expected, sample, ...)                                                 \
    CHECK_ERR(pytheus_sample_value(r, sample, PAIRS(__VA_ARGS__), &(double){0}), expected)
#define CHECK_BARE_ERR(r, expected, sample)                                                        \
    CHECK_ERR(pytheus_sample_value(r, sample, NULL, 0, &(double){0}), expected)

TEST_WITH(r, a_sample_has_the_name_that_the_page_shows) {
    pytheus_counter_inc(COUNTER(r, .name = "c_total"));
    pytheus_counter_inc(COUNTER(r, .name = "bare"));
    CHECK_SAMPLE(r, "c_total", 1);
    CHECK_SAMPLE(r, "bare", 1);
    CHECK_SAMPLE(r, "bare_total", 1); /* in OpenMetrics */
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "c");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "c_created");
}

TEST_WITH(r, a_histogram_has_no_sample_of_its_own_name) {
    HISTOGRAM(r, .name = "h");
    SUMMARY(r, .name = "s");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "h");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "s");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "s_bucket");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "h_created");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "h_");
}

TEST_WITH(r, an_unknown_sample_is_no_name) {
    GAUGE(r, .name = "x");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "y");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, NULL);
    CHECK_BARE_ERR(r, PYTHEUS_ERR_NAME, "x_count");
}

TEST_WITH(r, a_sample_is_found_whatever_the_order_of_its_labels) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a", "b"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1", "b", "2"), 7);
    CHECK_LABELLED(r, "x", 7, "a", "1", "b", "2");
    CHECK_LABELLED(r, "x", 7, "b", "2", "a", "1");
}

TEST_WITH(r, the_defaults_of_a_sample_may_be_left_out) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a", "b"}, .default_labels = {{"b", "2"}});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 7);
    CHECK_LABELLED(r, "x", 7, "a", "1");
    CHECK_LABELLED(r, "x", 7, "a", "1", "b", "2");
}

TEST_WITH(r, a_sample_needs_its_labels) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a", "b"});
    pytheus_gauge_labels(g, "a", "1", "b", "2");
    CHECK_BARE_ERR(r, PYTHEUS_ERR_LABEL, "x");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1", "c", "2");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1", "b", "2", "c", "3");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1", "b");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1", "b", NULL);
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x", "a", "1", "b", "2", "le", "1");
}

TEST_WITH(r, a_bucket_is_found_by_the_text_of_its_bound) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"},
                                    .buckets = (const double[]){0.5, 1, 1e6}, .num_buckets = 3);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "v"), 0.7);
    CHECK_LABELLED(r, "x_bucket", 0, "le", "0.5", "a", "v");
    CHECK_LABELLED(r, "x_bucket", 1, "a", "v", "le", "1");
    CHECK_LABELLED(r, "x_bucket", 1, "a", "v", "le", "1e+06");
    CHECK_LABELLED(r, "x_bucket", 1, "a", "v", "le", "+Inf");
}

TEST_WITH(r, a_bucket_needs_a_bound_that_it_has) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"});
    pytheus_histogram_labels(h, "a", "v");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x_bucket", "a", "v");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_LABEL, "x_sum", "a", "v", "le", "1");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_NOTHING, "x_bucket", "a", "v", "le", "0.3");
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_NOTHING, "x_bucket", "a", "v", "le", "nonsense");
}

TEST_WITH(r, asking_for_a_sample_makes_no_series) {
    double value = 17;
    GAUGE(r, .name = "x", .required_labels = {"a"});
    CHECK_ERR(pytheus_sample_value(r, "x", PAIRS("a", "1"), &value), PYTHEUS_ERR_NOTHING);
    CHECK_DOUBLE(value, 17);
    CHECK_PAGE(r, "# TYPE x gauge\n");
}

TEST_WITH(r, a_removed_sample_is_not_there) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_view_remove(pytheus_gauge_labels(g, "a", "1").view);
    CHECK_SAMPLE_ERR(r, PYTHEUS_ERR_NOTHING, "x", "a", "1");
}

TEST_WITH(r, a_sample_is_found_by_a_value_that_was_mended) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "\xff"), 7);
    CHECK_LABELLED(r, "x", 7, "a", "\xff");
    CHECK_LABELLED(r, "x", 7, "a", "\xef\xbf\xbd");
}
