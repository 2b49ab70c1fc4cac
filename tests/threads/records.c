/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * records - eight threads and their handlers write, one reader takes records
 *
 *   one_order      with two tags in one stream: if a push had returned before
 *                  another one began, it comes out first, whatever their tags.
 *                  Each record has the ticket that its writer drew before the
 *                  push; the one drawn behind it is kept beside
 *   losses         a stream that is nearly always full: each record has how many
 *                  its writer was refused before. What was told up to a record
 *                  is at least what the writers of all records up to there knew,
 *                  and at most what those of all later records know. In the end
 *                  it is what they counted, and seq has gaps just there
 *   stamps         times of a thread do not go back, and its id is right
 *
 * Seen to fail, with a copy of the header broken on purpose:
 *
 *   a list that is not turned round     one_order: overtaken
 *   a refusal that leaves the gate      losses: too late
 *   a gate that is opened before the    losses: too late
 *     publish
 *   an end that is told though the log  losses: too early at an end
 *     is not empty
 *   a told counter that does not grow   losses: told is not what was refused
 *   a thread id of the process          stamps
 */
#define BPF_STREAM_STATIC
#define BPF_STREAM_ENV_HEADER "../tests/exhaustion/yield_env.h"
#include "bpf_stream.h"
#include "../unit/selfcheck.h"

#include "threads.h"

#define WRITERS 8u
#define VOICES (2 * WRITERS)		/* a thread's, and its handler's */

struct message {
	uint32_t voice;
	uint32_t number;		/* among those that were accepted */
	uint64_t ticket;		/* drawn before the push */
	uint64_t refused;		/* of this voice, up to here */
	uint32_t tid;
};

/* What came out, in its order. */
struct taken {
	struct message m;
	uint64_t lost;			/* told by it */
	uint64_t behind;		/* told behind it, at an end of what was there */
	uint64_t seq;
	uint64_t time;
	uint32_t tid;
	uint8_t tag;
};

struct voice {
	uint32_t accepted;
	uint64_t refused;
	uint64_t *returned;		/* tickets drawn behind the pushes */
};

static uint64_t seed;
static uint64_t messages;		/* of all threads */
static struct bpf_stream stream;
static struct voice voices[VOICES];
static pthread_t threads[WRITERS];
static _Thread_local uint32_t my_voice = UINT32_MAX;
static _Thread_local uint32_t my_tid;
static uint64_t tickets;
static uint32_t ended;			/* writers */
static uint32_t over;
static bool losing;

static struct taken *taken;
static size_t count;
static size_t most;
static uint64_t told_first;		/* before all of it */

static void complain(const char *what, uint64_t is, uint64_t want)
{
	printf("FAIL: %s, seed %" PRIu64 ": %s: %" PRIu64 ", not %" PRIu64 "\n", program_case, seed,
	       what, is, want);
	fflush(stdout);
	_exit(1);
}

static uint64_t draw(void)
{
	return __atomic_fetch_add(&tickets, 1, __ATOMIC_SEQ_CST);
}

/* ---- Writers ----------------------------------------------------------- */

static void say(uint32_t number)
{
	struct voice *voice = &voices[number];
	struct message m = { number, voice->accepted, draw(), voice->refused, my_tid };
	char text[sizeof(m) + 64] = { 0 };
	size_t len = sizeof(m) + m.ticket % 60;
	int err;

	memcpy(text, &m, sizeof(m));
	err = bpf_stream_push_pri(&stream, BPF_STREAM_TAG(1 + (int)(m.ticket & 1)) | BPF_STREAM_INFO,
				  text, len);
	if (err && (!losing || err != -ENOSPC))
		complain("a push failed", (uint64_t)-err, 0);
	if (err)
		voice->refused++;
	else
		voice->returned[voice->accepted++] = draw();
}

static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	if (my_voice < WRITERS && voices[WRITERS + my_voice].accepted < messages)
		say(WRITERS + my_voice);
	errno = saved;
}

static void *write_all(void *arg)
{
	const uint64_t mine = messages / WRITERS;
	uint64_t i;

	my_tid = (uint32_t)syscall(SYS_gettid);
	my_voice = (uint32_t)(uintptr_t)arg;
	for (i = 0; i < mine; i++) {
		say(my_voice);
		if (losing && i % 8 == 0)
			program_pause();
	}
	/* Signals come until all have ended. */
	__atomic_fetch_add(&ended, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		program_pause();
	return NULL;
}

static void *disturb(void *ignored)
{
	uint64_t state = seed;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		pthread_kill(threads[program_below(&state, WRITERS)], SIGUSR1);
		program_pause();
	}
	return ignored;
}

/* ---- The reader -------------------------------------------------------- */

static int take(void *ctx, const struct bpf_stream_record *r)
{
	struct taken *to = &taken[count];

	(void)ctx;
	if (!r->total) {
		*(count ? &taken[count - 1].behind : &told_first) += r->lost;
		return 0;
	}
	if (count == most)
		complain("more came out than went in", count, most);
	if (r->len < sizeof(to->m) || r->len != r->total)
		complain("a record is cut", r->len, r->total);
	memcpy(&to->m, r->data, sizeof(to->m));
	if (to->m.voice >= VOICES)
		complain("no voice", to->m.voice, VOICES);
	to->lost = r->lost;
	to->seq = r->seq;
	to->time = r->time;
	to->tid = r->tid;
	to->tag = r->tag;
	count++;
	return 0;
}

static void *read_all(void *ignored)
{
	bool last;
	int n;

	do {
		last = __atomic_load_n(&over, __ATOMIC_ACQUIRE);
		n = bpf_stream_drain_records(&stream, take, NULL, SIZE_MAX);
		if (n < 0)
			complain("a drain failed", (uint64_t)-n, 0);
		if (!n)
			program_pause();
	} while (n || !last);
	return ignored;
}

static void run(const struct bpf_stream_options *options)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t reader;
	pthread_t disturber;
	uintptr_t i;

	sigaction(SIGUSR1, &action, NULL);
	most = 2 * messages;
	taken = calloc(most, sizeof(*taken));
	for (i = 0; i < VOICES; i++)
		voices[i].returned = calloc(messages + 1, sizeof(uint64_t));
	if (!taken || bpf_stream_init(&stream, options))
		complain("no stream", 0, 1);
	if (pthread_create(&reader, NULL, read_all, NULL))
		complain("no thread", 0, 1);
	for (i = 0; i < WRITERS; i++)
		if (pthread_create(&threads[i], NULL, write_all, (void *)i))
			complain("no thread", i, WRITERS);
	if (pthread_create(&disturber, NULL, disturb, NULL))
		complain("no thread", 0, 1);
	while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) < WRITERS)
		program_pause();
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	pthread_join(disturber, NULL);
	for (i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	pthread_join(reader, NULL);
	/* What the last handlers said. */
	read_all(NULL);
}

/* ---- Cases ------------------------------------------------------------- */

static void check_order(void)
{
	uint32_t next[VOICES] = { 0 };
	uint64_t begun = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		const struct message *m = &taken[i].m;

		if (m->number != next[m->voice]++)
			complain("a voice's number", m->number, next[m->voice] - 1);
		if (taken[i].tag != 1 + (m->ticket & 1))
			complain("a tag", taken[i].tag, 1 + (m->ticket & 1));
		/* One that came out before had begun only when this one had returned. */
		if (voices[m->voice].returned[m->number] < begun)
			complain("overtaken: a ticket",
				 voices[m->voice].returned[m->number], begun);
		if (m->ticket > begun)
			begun = m->ticket;
	}
	for (i = 0; i < VOICES; i++)
		if (next[i] != voices[i].accepted)
			complain("messages that came out", next[i], voices[i].accepted);
}

static void one_order(void)
{
	run(&(const struct bpf_stream_options){ .capacity = 64u << 20 });
	check_order();
}

static uint64_t all_refused(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < VOICES; i++)
		sum += voices[i].refused;
	return sum;
}

/* From each record on: what the next ones of all voices know, in sum. */
static uint64_t *known_later(void)
{
	uint64_t *later = calloc(count + 1, sizeof(*later));
	uint64_t known[VOICES];
	size_t i;

	for (i = 0; i < VOICES; i++)
		known[i] = voices[i].refused;
	for (i = count, later[i] = all_refused(); i-- > 0;) {
		const struct message *m = &taken[i].m;

		later[i] = later[i + 1] - known[m->voice] + m->refused;
		known[m->voice] = m->refused;
	}
	return later;
}

static void losses(void)
{
	uint64_t known[VOICES] = { 0 };		/* by what came out */
	uint64_t *later;
	uint64_t at_ends;
	uint64_t told;
	uint64_t sum = 0;
	size_t i;

	losing = true;
	run(&(const struct bpf_stream_options){ .capacity = 2000 });
	check_order();
	later = known_later();
	told = at_ends = told_first;
	for (i = 0; i < count; i++) {
		const struct message *m = &taken[i].m;

		told += taken[i].lost;
		if (taken[i].seq != i + told)
			complain("seq", taken[i].seq, i + told);
		sum += m->refused - known[m->voice];
		known[m->voice] = m->refused;
		if (told < sum)
			complain("told too late", told, sum);
		if (told > later[i])
			complain("told too early", told, later[i]);
		told += taken[i].behind;
		at_ends += taken[i].behind;
		if (told > later[i + 1])
			complain("told too early at an end", told, later[i + 1]);
	}
	free(later);
	if (told != all_refused())
		complain("told is not what was refused", told, all_refused());
	printf("  %zu taken, %" PRIu64 " lost, of these %" PRIu64 " told at an end\n", count, told,
	       at_ends);
}

static void stamps(void)
{
	uint64_t last[VOICES] = { 0 };
	size_t i;

	run(&(const struct bpf_stream_options){ .capacity = 64u << 20,
						.clock = bpf_stream_clock_monotonic });
	check_order();
	for (i = 0; i < count; i++) {
		const struct message *m = &taken[i].m;

		if (taken[i].tid != m->tid)
			complain("a thread's id", taken[i].tid, m->tid);
		if (!taken[i].time || taken[i].time < last[m->voice])
			complain("a time", taken[i].time, last[m->voice]);
		last[m->voice] = taken[i].time;
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "one_order", one_order }, { "losses", losses }, { "stamps", stamps },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static const char *case_name(unsigned int i)
{
	return i < CASES ? cases[i].name : NULL;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	const struct program_option options[] = {
		PROGRAM_SEED(&seed),
		PROGRAM_NUMBER("messages", "of all threads", &messages, WRITERS, 10000000),
		PROGRAM_WORD("case", "only this case:", &only, case_name),
		PROGRAM_LAST
	};
	unsigned int i;
	pid_t pid;

	(void)threads_pages_out;
	messages = program_number(PROGRAM_TSAN ? 40000 : 200000, 1000000);
	program_begin(argc, argv, "Write records from threads and handlers, and check their order.",
		      options);
	for (i = 0; i < CASES; i++) {
		program_case = cases[i].name;
		if (only && strcmp(only, cases[i].name))
			continue;
		pid = program_fork();
		if (!pid) {
			cases[i].run();
			exit(0);
		}
		threads_note(cases[i].name, program_wait(pid));
	}
	return threads_summary();
}
