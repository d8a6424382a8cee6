/* steps.h: stops an operation after its first instruction, its second, and so on to the last, and
 * lets something else happen there. Linux on x86, not under ThreadSanitizer. Included behind the
 * declaration of a type stage, which has the members begin, act (what is stopped), intervene and
 * check, functions of a stage *. After check.h, <signal.h> and <ucontext.h>. C99. */
#ifndef STEPS_H
#define STEPS_H

enum { FOR_EVER = 1 << 30 };

static stage *on_stage;
static volatile int steps_left;
static volatile bool is_over;

/* With this flag the processor raises SIGTRAP after each instruction. */
enum { TRAP_FLAG = 0x100 };

/* Below what the compiler may keep under the stack pointer. */
static inline void raise_trap_flag(void) {
#ifdef __x86_64__
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
                     "lea 128(%%rsp), %%rsp" ::
                         : "memory", "cc");
#else
    __asm__ volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl" ::: "memory", "cc");
#endif
}

static void step(int unused_number, siginfo_t *unused, void *context) {
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    (void)unused_number;
    (void)unused;
    if (is_over || --steps_left == 0)
        *flags &= ~TRAP_FLAG;
    if (!is_over && steps_left == 0)
        on_stage->intervene(on_stage);
}

/* Whether it was stopped before it ended. */
static bool act_and_stop_after(stage *st, int num_steps) {
    on_stage = st;
    steps_left = num_steps;
    is_over = false;
    raise_trap_flag();
    st->act(st);
    is_over = true;
    return steps_left == 0;
}

static void do_nothing(stage *unused) {
    (void)unused;
}

/* Emulators may not. */
static bool can_stop(void) {
    stage st = {.act = do_nothing, .intervene = do_nothing};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = step;
    sigaction(SIGTRAP, &action, NULL);
    return act_and_stop_after(&st, 1);
}

/* Where a sanitizer adds instructions by the hundred, not at each. */
static void stop_at_each_step(stage *st) {
    enum { MOST_STOPS = 120 };
    st->begin(st);
    CHECK(!act_and_stop_after(st, FOR_EVER));
    int num_steps = FOR_EVER - steps_left, stride = 1 + num_steps / MOST_STOPS;
    CHECK(num_steps > 10);
    for (int i = 1; i < num_steps && check_num_failed < 20; i += stride) {
        st->begin(st);
        if (act_and_stop_after(st, i))
            st->check(st);
    }
}

#endif
