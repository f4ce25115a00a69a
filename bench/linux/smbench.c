// SPDX-License-Identifier: GPL-2.0
/*
 * What Linux needs for the operations that Standstill offers: measured inside of the kernel, while this module is loaded, with results as
 * lines on the console. The operations and their counts are those of kernel/src/bench/ in this repository; keep the two alike.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/stop_machine.h>
#include <linux/tracepoint.h>
#include <linux/vmalloc.h>

/* How often each operation is measured. */
static int calls = 10000;
module_param(calls, int, 0);
static int stops = 10000;
module_param(stops, int, 0);
static int updown = 50;
module_param(updown, int, 0);
static int together = 3;
module_param(together, int, 0);
/* Turns of the throughput measurements. */
static int slices = 20;
module_param(slices, int, 0);

/* How many stops are watched for gaps, how many looks are taken at timers, which fire so often, and how many turns there are under load. */
static int watched = 1000;
module_param(watched, int, 0);
static int looks = 50;
module_param(looks, int, 0);
static int probe_us = 250;
module_param(probe_us, int, 0);
static int loaded = 50;
module_param(loaded, int, 0);

#define SLICE_NS (10 * NSEC_PER_MSEC)
#define PROBE_NS (probe_us * NSEC_PER_USEC)
/* How often the timer fires that stands for a device. */
#define DEVICE_NS (500 * NSEC_PER_USEC)
/* How many calls one sender may have on the way. */
#define CSDS 32
/* How long a workload computes between two points where it may be switched. */
#define WORK_NS (50 * NSEC_PER_USEC)
/* The CPU that comes and goes. */
#define VICTIM 1

static u64 *samples;
static int room;

static int smaller(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void say(const char *op, u64 *v, int n)
{
	if (!n)
		return;
	sort(v, n, sizeof(*v), smaller, NULL);
	pr_alert("@dist {\"op\":\"%s\",\"n\":%d,\"min_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"max_ns\":%llu}\n",
		 op, n, v[0], v[n / 2], v[(int)((u64)n * 99 / 100)], v[n - 1]);
}

static void say_stage(const char *op, const char *stage, u64 *v, int n)
{
	if (!n)
		return;
	sort(v, n, sizeof(*v), smaller, NULL);
	pr_alert("@stage {\"op\":\"%s\",\"stage\":\"%s\",\"n\":%d,\"p50_ns\":%llu}\n", op, stage, n, v[n / 2]);
}

/* ---- stops */

static u64 ran_at;

static int note_time(void *unused)
{
	WRITE_ONCE(ran_at, ktime_get_ns());
	return 0;
}

static int nothing(void *unused)
{
	return 0;
}

static void measure_stops(void)
{
	u64 began;
	int i;

	for (i = 0; i < stops; i++) {
		began = ktime_get_ns();
		stop_machine(note_time, NULL, NULL);
		samples[i] = ktime_get_ns() - began;
	}
	say("stop_machine", samples, stops);
	for (i = 0; i < stops; i++) {
		began = ktime_get_ns();
		stop_machine(nothing, NULL, cpu_online_mask);
		samples[i] = ktime_get_ns() - began;
	}
	say("stop_machine_all", samples, stops);
}

/* ---- a stop by stage: from the entries to the loop of the stage machine, the function, and the returns from the loop */

/* How many stops are taken apart. */
#define STOPS_APART 1000

static u64 first_in, last_in, last_out;
static DEFINE_RAW_SPINLOCK(loop_lock);

static int loop_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	unsigned long flags;
	u64 now;

	raw_spin_lock_irqsave(&loop_lock, flags);
	now = ktime_get_ns();
	if (!first_in)
		first_in = now;
	last_in = now;
	raw_spin_unlock_irqrestore(&loop_lock, flags);
	return 0;
}

static int loop_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&loop_lock, flags);
	last_out = ktime_get_ns();
	raw_spin_unlock_irqrestore(&loop_lock, flags);
	return 0;
}

static struct kretprobe loop_probe = {
	.kp.symbol_name = "multi_cpu_stop",
	.entry_handler = loop_begins,
	.handler = loop_ends,
};

static void measure_stages(void)
{
	static const char *const names[] = { "works queued, a stopper runs", "every stopper runs",
					     "PREPARE, DISABLE_IRQ", "EXIT", "return", "total" };
	u64 *part[] = { samples, samples + room, samples + 2 * room, samples + 3 * room, samples + 4 * room,
			samples + 5 * room };
	int i, n = min(stops, STOPS_APART);

	loop_probe.maxactive = nr_cpu_ids;
	if (register_kretprobe(&loop_probe)) {
		pr_alert("smbench: this kernel's stops can't be taken apart\n");
		return;
	}
	for (i = 0; i < n; i++) {
		u64 began, ended;

		first_in = 0;
		began = ktime_get_ns();
		stop_machine(note_time, NULL, NULL);
		ended = ktime_get_ns();
		part[0][i] = first_in - began;
		part[1][i] = last_in - first_in;
		part[2][i] = ran_at - last_in;
		part[3][i] = last_out - ran_at;
		part[4][i] = ended - last_out;
		part[5][i] = ended - began;
	}
	unregister_kretprobe(&loop_probe);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		say_stage("stop_machine_stages", names[i], part[i], n);
}

/* ---- calls */

static void empty_call(void *unused)
{
}

static void measure_calls(void)
{
	u64 began;
	int i;

	for (i = 0; i < calls; i++) {
		began = ktime_get_ns();
		smp_call_function_single(VICTIM, empty_call, NULL, 1);
		samples[i] = ktime_get_ns() - began;
	}
	say("call_single", samples, calls);
	for (i = 0; i < calls; i++) {
		began = ktime_get_ns();
		on_each_cpu(empty_call, NULL, 1);
		samples[i] = ktime_get_ns() - began;
	}
	say("on_each_cpu", samples, calls);
}

/* ---- threads that are bound to one CPU each, until they are told to end */

static struct task_struct *threads[NR_CPUS];

static void spawn(int (*body)(void *), const struct cpumask *cpus)
{
	int cpu;

	for_each_cpu(cpu, cpus) {
		struct task_struct *t = kthread_create(body, (void *)(long)cpu, "smbench/%d", cpu);

		if (IS_ERR(t))
			continue;
		/* Not kthread_bind: a thread of a CPU that leaves has to go on elsewhere. */
		set_cpus_allowed_ptr(t, cpumask_of(cpu));
		threads[cpu] = t;
		wake_up_process(t);
	}
}

static void end_threads(void)
{
	int cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		if (threads[cpu])
			kthread_stop(threads[cpu]);
		threads[cpu] = NULL;
	}
}

/* ---- throughput of calls without wait */

struct sender {
	call_single_data_t csds[CSDS];
	u64 ran ____cacheline_aligned;
};

static struct sender *senders;
static const struct cpumask *targets;

static void count_call(void *sender)
{
	struct sender *s = sender;

	/* Calls of one sender may run on many CPUs at once. */
	__atomic_fetch_add(&s->ran, 1, __ATOMIC_RELAXED);
}

static int send_calls(void *arg)
{
	int me = (long)arg, to = me, next = 0;
	struct sender *s = &senders[me];

	while (!kthread_should_stop()) {
		int i;

		for (i = 0; i < 64; i++) {
			do {
				to = cpumask_next(to, targets);
				if (to >= nr_cpu_ids)
					to = cpumask_first(targets);
			} while (to == me);
			preempt_disable();
			if (smp_call_function_single_async(to, &s->csds[next]) == 0)
				next = (next + 1) % CSDS;
			else
				cpu_relax();
			preempt_enable();
		}
		cond_resched();
	}
	return 0;
}

static u64 all_ran(void)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(senders[cpu].ran);
	return sum;
}

static void measure_throughput(const char *op, const struct cpumask *from, const struct cpumask *to)
{
	u64 ran, began;
	int i;

	targets = to;
	spawn(send_calls, from);
	msleep(20);
	for (i = 0; i < slices; i++) {
		began = ktime_get_ns();
		ran = all_ran();
		usleep_range(SLICE_NS / 1000, SLICE_NS / 1000 + 100);
		samples[i] = div64_u64(ktime_get_ns() - began, max(all_ran() - ran, 1ULL));
	}
	end_threads();
	/* The last ones are still on their way. */
	msleep(50);
	say(op, samples, slices);
}

static void measure_throughputs(void)
{
	static struct cpumask others;
	int cpu, i;

	senders = vzalloc(sizeof(*senders) * nr_cpu_ids);
	if (!senders)
		return;
	for_each_possible_cpu(cpu)
		for (i = 0; i < CSDS; i++)
			INIT_CSD(&senders[cpu].csds[i], count_call, &senders[cpu]);
	cpumask_copy(&others, cpu_online_mask);
	cpumask_clear_cpu(VICTIM, &others);
	measure_throughput("async_one_to_one", cpumask_of(0), cpumask_of(VICTIM));
	measure_throughput("async_all_to_one", &others, cpumask_of(VICTIM));
	measure_throughput("async_all_to_all", cpu_online_mask, cpu_online_mask);
}

/* ---- how long the machine stands still, as a thread sees it */

static u64 *gaps;

static int watch_clock(void *arg)
{
	int me = (long)arg;
	u64 last = ktime_get_ns();

	while (!kthread_should_stop()) {
		u64 now = ktime_get_ns();

		if (now - last > READ_ONCE(gaps[me]))
			WRITE_ONCE(gaps[me], now - last);
		last = now;
		cond_resched();
	}
	return 0;
}

static void measure_gaps(void)
{
	static struct cpumask others;
	int cpu, i;

	gaps = vzalloc(sizeof(*gaps) * nr_cpu_ids);
	if (!gaps)
		return;
	cpumask_copy(&others, cpu_online_mask);
	cpumask_clear_cpu(0, &others);
	spawn(watch_clock, &others);
	msleep(20);
	for (i = 0; i < watched; i++) {
		u64 longest = 0;

		for_each_cpu(cpu, &others)
			WRITE_ONCE(gaps[cpu], 0);
		stop_machine(nothing, NULL, NULL);
		for_each_cpu(cpu, &others)
			longest = max(longest, READ_ONCE(gaps[cpu]));
		samples[i] = longest;
	}
	end_threads();
	say("stop_gap", samples, watched);
}

/* ---- how late timer interrupts are: the longest time with interrupts off, and the way of an interrupt */

static struct hrtimer *timers;
static u64 *late;

static enum hrtimer_restart probe(struct hrtimer *timer)
{
	int cpu = timer - timers;
	u64 now = ktime_get_ns(), due = ktime_to_ns(hrtimer_get_expires(timer));

	if (now > due && now - due > READ_ONCE(late[cpu]))
		WRITE_ONCE(late[cpu], now - due);
	hrtimer_forward_now(timer, PROBE_NS);
	return HRTIMER_RESTART;
}

static void start_probe(void *unused)
{
	struct hrtimer *timer = &timers[smp_processor_id()];

	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	timer->function = probe;
	hrtimer_start(timer, PROBE_NS, HRTIMER_MODE_REL_PINNED_HARD);
}

static void measure_lateness(const char *op, int with_stops)
{
	int cpu, i, n = 0;

	for_each_online_cpu(cpu)
		late[cpu] = 0;
	for (i = 0; i < looks; i++) {
		/* Long enough for the timer of each CPU to fire. */
		u64 until = ktime_get_ns() + 4 * PROBE_NS;

		if (!with_stops)
			usleep_range(4 * probe_us, 4 * probe_us + 100);
		while (with_stops && ktime_get_ns() < until)
			stop_machine(nothing, NULL, NULL);
		for_each_online_cpu(cpu) {
			if (n < room)
				samples[n++] = READ_ONCE(late[cpu]);
			WRITE_ONCE(late[cpu], 0);
		}
	}
	say(op, samples, n);
}

static void measure_latenesses(void)
{
	int cpu;

	timers = vzalloc(sizeof(*timers) * nr_cpu_ids);
	late = vzalloc(sizeof(*late) * nr_cpu_ids);
	if (!timers || !late)
		return;
	on_each_cpu(start_probe, NULL, 1);
	msleep(20);
	measure_lateness("irq_late_quiet", 0);
	measure_lateness("irq_late_stops", 1);
	for_each_online_cpu(cpu)
		hrtimer_cancel(&timers[cpu]);
}

/* ---- down and up, state by state */

/* Time in each state's callbacks, of one operation, and of all of them. */
static u64 entered[CPUHP_ONLINE + 1], in_state[CPUHP_ONLINE + 1];
static u64 *per_state[2];
static void *callback[2][CPUHP_ONLINE + 1];
static bool nameless[2][CPUHP_ONLINE + 1];
static int going_up;
static DEFINE_SPINLOCK(state_lock);

static void enter(void *unused, unsigned int cpu, int target, int idx, void *fun)
{
	unsigned long flags;

	if (idx < 0 || idx > CPUHP_ONLINE)
		return;
	spin_lock_irqsave(&state_lock, flags);
	entered[idx] = ktime_get_ns();
	callback[going_up][idx] = fun;
	spin_unlock_irqrestore(&state_lock, flags);
}

static void enter_multi(void *unused, unsigned int cpu, int target, int idx, void *fun, struct hlist_node *node)
{
	enter(unused, cpu, target, idx, fun);
}

static void leave(void *unused, unsigned int cpu, int state, int idx, int ret)
{
	unsigned long flags;

	if (idx < 0 || idx > CPUHP_ONLINE)
		return;
	spin_lock_irqsave(&state_lock, flags);
	if (entered[idx]) {
		in_state[idx] += ktime_get_ns() - entered[idx];
		entered[idx] = 0;
	}
	spin_unlock_irqrestore(&state_lock, flags);
}

/*
 * A tracepoint is silent on a CPU that is not online, as a CPU is in its DYING and STARTING states. There the function that calls the callbacks is
 * watched itself. It does not say which callback it calls, so such a state has a number and no name.
 */
struct inside {
	u64 began;
	int state;
};

static int invoke_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct inside *inside = (void *)instance->data;

	inside->state = regs_get_kernel_argument(regs, 1);
	inside->began = ktime_get_ns();
	return cpu_online(raw_smp_processor_id());
}

static int invoke_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct inside *inside = (void *)instance->data;

	/* One CPU comes or goes, and nobody else calls callbacks meanwhile. */
	if (inside->state >= 0 && inside->state <= CPUHP_ONLINE) {
		in_state[inside->state] += ktime_get_ns() - inside->began;
		nameless[going_up][inside->state] = true;
	}
	return 0;
}

static struct kretprobe invoke_probe = {
	.kp.symbol_name = "cpuhp_invoke_callback",
	.entry_handler = invoke_begins,
	.handler = invoke_ends,
	.data_size = sizeof(struct inside),
};

static int invoke_fails;
static struct tracepoint *points[3];
static void *const probes[] = { enter, enter_multi, leave };
static const char *const names[] = { "cpuhp_enter", "cpuhp_multi_enter", "cpuhp_exit" };

static void find_point(struct tracepoint *tp, void *unused)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(tp->name, names[i]))
			points[i] = tp;
}

static void trace(int on)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(points); i++) {
		if (!points[i])
			continue;
		if (on)
			tracepoint_probe_register(points[i], probes[i], NULL);
		else
			tracepoint_probe_unregister(points[i], probes[i], NULL);
	}
	if (on) {
		invoke_probe.maxactive = nr_cpu_ids;
		invoke_fails = register_kretprobe(&invoke_probe);
		if (invoke_fails)
			pr_alert("smbench: this kernel's DYING and STARTING states can't be timed\n");
	} else {
		if (!invoke_fails)
			unregister_kretprobe(&invoke_probe);
		tracepoint_synchronize_unregister();
	}
}

static void keep_states(int up, int turn)
{
	int state;

	for (state = 0; state <= CPUHP_ONLINE; state++)
		per_state[up][state * updown + turn] = in_state[state];
	memset(in_state, 0, sizeof(in_state));
	memset(entered, 0, sizeof(entered));
}

static void say_states(const char *op, int up, u64 *totals)
{
	static char name[64];
	int state;

	for (state = 0; state <= CPUHP_ONLINE; state++) {
		u64 *v = &per_state[up][state * updown];

		if (callback[up][state])
			snprintf(name, sizeof(name), "%d %ps", state, callback[up][state]);
		else if (nameless[up][state])
			snprintf(name, sizeof(name), "%d (%s)", state, up ? "STARTING" : "DYING");
		else
			continue;
		say_stage(op, name, v, updown);
	}
	say_stage(op, "total", totals, updown);
}

static void measure_updown(const char *down, const char *up, int turns, int by_state)
{
	u64 *ups = samples + room;
	u64 began;
	int i, error = 0;

	if (by_state)
		trace(1);
	for (i = 0; i < turns && !error; i++) {
		going_up = 0;
		began = ktime_get_ns();
		error = remove_cpu(VICTIM);
		samples[i] = ktime_get_ns() - began;
		if (by_state)
			keep_states(0, i);
		going_up = 1;
		began = ktime_get_ns();
		error = error ?: add_cpu(VICTIM);
		ups[i] = ktime_get_ns() - began;
		if (by_state)
			keep_states(1, i);
	}
	if (by_state)
		trace(0);
	if (error) {
		pr_alert("@error CPU %d: %d after %d turns of %s\n", VICTIM, error, i, down);
		return;
	}
	if (by_state) {
		say_states(down, 0, samples);
		say_states(up, 1, ups);
	} else {
		say(down, samples, turns);
		say(up, ups, turns);
	}
}

/* ---- the same under load */

static struct hrtimer device;
static call_single_data_t device_csd[NR_CPUS];

static enum hrtimer_restart device_interrupt(struct hrtimer *timer)
{
	static int to;

	to = cpumask_next(to, cpu_online_mask);
	if (to >= nr_cpu_ids)
		to = cpumask_first(cpu_online_mask);
	/* Busy, or offline by now: then there is none this time. */
	smp_call_function_single_async(to, &device_csd[to]);
	hrtimer_forward_now(timer, DEVICE_NS);
	return HRTIMER_RESTART;
}

static int work(void *unused)
{
	while (!kthread_should_stop()) {
		u64 until = ktime_get_ns() + WORK_NS;

		while (ktime_get_ns() < until)
			cpu_relax();
		cond_resched();
	}
	return 0;
}

static void measure_load(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		INIT_CSD(&device_csd[cpu], empty_call, NULL);
	spawn(work, cpu_online_mask);
	hrtimer_init(&device, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	device.function = device_interrupt;
	hrtimer_start(&device, DEVICE_NS, HRTIMER_MODE_REL_HARD);
	measure_updown("cpu_down_load", "cpu_up_load", loaded, 0);
	hrtimer_cancel(&device);
	end_threads();
	/* The last call is still on its way. */
	msleep(50);
}

/* From one CPU to all of them: one after the other, as sysfs does it. */
static void measure_bring_ups(void)
{
	u64 began;
	int cpu, i, error = 0;

	for (i = 0; i < together && !error; i++) {
		for_each_present_cpu(cpu)
			if (cpu && !error)
				error = remove_cpu(cpu);
		began = ktime_get_ns();
		for_each_present_cpu(cpu)
			if (cpu && !error)
				error = add_cpu(cpu);
		samples[i] = ktime_get_ns() - began;
	}
	if (error)
		pr_alert("@error bring_up: %d after %d turns\n", error, i);
	else
		say("bring_up", samples, together);
}

static int __init smbench_init(void)
{
	room = max(max(max(calls, stops), max(updown, slices)), max(max(watched, loaded), looks * (int)nr_cpu_ids));
	samples = vmalloc(6 * sizeof(*samples) * room);
	per_state[0] = vzalloc(sizeof(u64) * (CPUHP_ONLINE + 1) * updown);
	per_state[1] = vzalloc(sizeof(u64) * (CPUHP_ONLINE + 1) * updown);
	if (!samples || !per_state[0] || !per_state[1])
		return -ENOMEM;
	set_cpus_allowed_ptr(current, cpumask_of(0));
	for_each_kernel_tracepoint(find_point, NULL);
	pr_alert("@begin {\"cpus\":%u}\n", num_online_cpus());
	if (num_online_cpus() < 2)
		return -ENODEV;
	/* What the boot left to be done. */
	msleep(500);
	measure_calls();
	measure_stops();
	measure_throughputs();
	measure_latenesses();
	measure_updown("cpu_down", "cpu_up", updown, 0);
	if (together)
		measure_bring_ups();
	measure_stages();
	measure_updown("cpu_down", "cpu_up", updown, 1);
	if (loaded)
		measure_load();
	/* Last, as it takes longest where there are more CPUs than cores. */
	if (watched)
		measure_gaps();
	pr_alert("@end {}\n");
	return 0;
}

static void __exit smbench_exit(void)
{
}

module_init(smbench_init);
module_exit(smbench_exit);
MODULE_DESCRIPTION("Times of stop_machine, cross-CPU calls and CPU hotplug");
MODULE_LICENSE("GPL");
