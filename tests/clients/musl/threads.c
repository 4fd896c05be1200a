/* What musl's threads do, in lines that two correct kernels agree on: creation and joining, mutexes of every kind, condition variables,
   cancellation, thread-specific data, robust mutexes, barriers, read-write locks, semaphores, timers, once. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long counter;

static void start(pthread_t *threads, int count, void *(*run)(void *))
{
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i) != 0)
			printf("no thread %d\n", i);
}

static long join(pthread_t *threads, int count)
{
	long sum = 0;
	for (int i = 0; i < count; i++) {
		void *result;
		pthread_join(threads[i], &result);
		sum += (intptr_t)result;
	}
	return sum;
}

static struct timespec after(int clock, long milliseconds)
{
	struct timespec time;
	clock_gettime(clock, &time);
	time.tv_nsec += milliseconds % 1000 * 1000000;
	time.tv_sec += milliseconds / 1000 + time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return time;
}

/* The compiler has no atomics. */
static void add_to(int *sum, int number)
{
	pthread_mutex_lock(&lock);
	*sum += number;
	pthread_mutex_unlock(&lock);
}

static void *add(void *number)
{
	for (int i = 0; i < 5000; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return number;
}

static void creation(void)
{
	pthread_t threads[THREADS];
	start(threads, THREADS, add);
	long sum = join(threads, THREADS);
	printf("joined %ld, counted %ld\n", sum, counter);
	for (int round = 0; round < 100; round++) {
		start(threads, 2, add);
		join(threads, 2);
	}
	printf("and again %ld\n", counter);
	pthread_attr_t attributes;
	size_t size;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 1 << 20);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	printf("detached %d\n", pthread_create(&threads[0], &attributes, add, NULL));
	pthread_attr_getstacksize(&attributes, &size);
	printf("stack %zu\n", size);
}

/* Two that take turns. */
static int turn;

static void *take_turns(void *number)
{
	int own = (intptr_t)number;
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&lock);
		while (turn != own)
			pthread_cond_wait(&changed, &lock);
		turn = !own;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void conditions(void)
{
	pthread_t threads[2];
	start(threads, 2, take_turns);
	join(threads, 2);
	printf("turn %d\n", turn);
	pthread_mutex_lock(&lock);
	struct timespec time = after(CLOCK_REALTIME, 20);
	printf("timed wait %s\n", strerror(pthread_cond_timedwait(&changed, &lock, &time)));
	pthread_mutex_unlock(&lock);
}

static pthread_mutex_t kinds;

static void *try(void *unused)
{
	return (void *)(intptr_t)pthread_mutex_trylock(&kinds);
}

static void mutexes(void)
{
	const struct { int type, protocol; const char *name; } all[] = {
		{ PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, "normal" },
		{ PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, "recursive" },
		{ PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, "checking" },
		{ PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_INHERIT, "inheriting" },
	};
	for (int i = 0; i < 4; i++) {
		pthread_mutexattr_t attributes;
		pthread_t thread;
		pthread_mutexattr_init(&attributes);
		pthread_mutexattr_settype(&attributes, all[i].type);
		int protocol = pthread_mutexattr_setprotocol(&attributes, all[i].protocol);
		pthread_mutex_init(&kinds, &attributes);
		int first = pthread_mutex_lock(&kinds);
		start(&thread, 1, try);
		int other = join(&thread, 1);
		struct timespec time = after(CLOCK_REALTIME, 10);
		int again = pthread_mutex_timedlock(&kinds, &time);
		int freed = pthread_mutex_unlock(&kinds);
		int once_more = all[i].type == PTHREAD_MUTEX_NORMAL ? 0 : pthread_mutex_unlock(&kinds);
		printf("%s: %d %d, other %d, again %d, free %d %d\n", all[i].name, protocol, first, other, again, freed, once_more);
		pthread_mutex_destroy(&kinds);
	}
}

static int cleaned;

static void clean(void *by)
{
	cleaned += (intptr_t)by;
}

static void *wait_for_ever(void *unused)
{
	pthread_cleanup_push(clean, (void *)1);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return NULL;
}

static void *wait_for_change(void *unused)
{
	pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &lock);
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&changed, &lock);
	pthread_cleanup_pop(0);
	return NULL;
}

static volatile int spinning;

static void *spin(void *unused)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(clean, (void *)10);
	for (;;)
		spinning = 1;
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancellation(void)
{
	void *(*const all[])(void *) = { wait_for_ever, wait_for_change, spin };
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		void *result;
		start(&thread, 1, all[i]);
		while (i == 2 && !spinning)
			sched_yield();
		usleep(2000);
		int sent = pthread_cancel(thread);
		pthread_join(thread, &result);
		printf("cancelled %d %d, cleaned %d, lock %d\n", sent, result == PTHREAD_CANCELED, cleaned, pthread_mutex_trylock(&lock));
		pthread_mutex_unlock(&lock);
	}
}

static pthread_key_t key;
static int destroyed;

static void destroy(void *value)
{
	add_to(&destroyed, (int)(intptr_t)value);
}

static void *specific(void *number)
{
	intptr_t own = (intptr_t)number + 1;
	pthread_setspecific(key, (void *)own);
	errno = (int)own;
	for (int i = 0; i < 200; i++)
		sched_yield();
	return (void *)(intptr_t)((intptr_t)pthread_getspecific(key) == own && errno == own);
}

static void data(void)
{
	pthread_t threads[THREADS];
	pthread_key_create(&key, destroy);
	start(threads, THREADS, specific);
	long own = join(threads, THREADS);
	printf("own data %ld, destroyed %d\n", own, destroyed);
}

static void robust(void)
{
	pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	printf("robust %d\n", pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
	pthread_mutex_init(shared, &attributes);
	if (fork() == 0) {
		pthread_mutex_lock(shared);
		kill(getpid(), SIGKILL);
	}
	wait(NULL);
	int first = pthread_mutex_lock(shared);
	printf("%s, ", strerror(first));
	int repaired = pthread_mutex_consistent(shared);
	int freed = pthread_mutex_unlock(shared);
	int again = pthread_mutex_lock(shared);
	printf("%d %d %d\n", repaired, freed, again);
	pthread_mutex_unlock(shared);
	if (fork() == 0) {
		pthread_mutex_lock(shared);
		_exit(0);
	}
	wait(NULL);
	pthread_mutex_lock(shared);
	pthread_mutex_unlock(shared);
	printf("%s\n", strerror(pthread_mutex_lock(shared)));
}

static pthread_barrier_t barrier;
static int arrived;

static void *meet(void *unused)
{
	long serial = 0, early = 0;
	for (int i = 1; i <= 50; i++) {
		add_to(&arrived, 1);
		serial += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
		early += arrived < i * THREADS;
		pthread_barrier_wait(&barrier);
	}
	return (void *)(serial + 1000 * early);
}

static void barriers(void)
{
	pthread_t threads[THREADS];
	pthread_barrier_init(&barrier, NULL, THREADS);
	start(threads, THREADS, meet);
	printf("serial %ld\n", join(threads, THREADS));
	pthread_barrier_destroy(&barrier);
}

static pthread_rwlock_t readers = PTHREAD_RWLOCK_INITIALIZER;
static volatile long left, right;

static void *read_or_write(void *number)
{
	long torn = 0;
	for (int i = 0; i < 1000; i++) {
		if ((intptr_t)number < 2) {
			pthread_rwlock_wrlock(&readers);
			left++;
			right++;
		} else {
			pthread_rwlock_rdlock(&readers);
			torn += left != right;
		}
		pthread_rwlock_unlock(&readers);
	}
	return (void *)torn;
}

static void read_write_locks(void)
{
	pthread_t threads[THREADS];
	start(threads, THREADS, read_or_write);
	long torn = join(threads, THREADS);
	printf("written %ld, torn %ld\n", left, torn);
	pthread_rwlock_rdlock(&readers);
	struct timespec time = after(CLOCK_REALTIME, 10);
	int tried = pthread_rwlock_trywrlock(&readers);
	printf("%s, %s\n", strerror(tried), strerror(pthread_rwlock_timedwrlock(&readers, &time)));
	pthread_rwlock_unlock(&readers);
}

static sem_t items, room;

static void *produce(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		sem_wait(&room);
		sem_post(&items);
	}
	return NULL;
}

static void *consume(void *unused)
{
	for (long i = 0; i < 2000; i++) {
		sem_wait(&items);
		sem_post(&room);
	}
	return (void *)2000;
}

static void semaphores(void)
{
	pthread_t producers[2], consumers[2];
	int value;
	sem_init(&items, 0, 0);
	sem_init(&room, 0, 3);
	start(producers, 2, produce);
	start(consumers, 2, consume);
	join(producers, 2);
	printf("consumed %ld\n", join(consumers, 2));
	sem_getvalue(&room, &value);
	struct timespec time = after(CLOCK_REALTIME, 10);
	int result = sem_timedwait(&items, &time);
	printf("room %d, %d %s\n", value, result, strerror(errno));
}

static sem_t fired;

static void fire(union sigval value)
{
	if (value.sival_int == 7)
		sem_post(&fired);
}

static void timers(void)
{
	struct sigevent event;
	struct itimerspec times = { { 0, 2000000 }, { 0, 2000000 } };
	timer_t timer;
	memset(&event, 0, sizeof event);
	sem_init(&fired, 0, 0);
	event.sigev_notify = SIGEV_THREAD;
	event.sigev_notify_function = fire;
	event.sigev_value.sival_int = 7;
	printf("timer %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer));
	timer_settime(timer, 0, &times, NULL);
	for (int i = 0; i < 5; i++)
		sem_wait(&fired);
	printf("fired, deleted %d\n", timer_delete(timer));
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialised;

static void initialise(void)
{
	usleep(1000);
	initialised++;
}

static void *call_once_only(void *unused)
{
	pthread_once(&once, initialise);
	return (void *)(intptr_t)initialised;
}

static volatile sig_atomic_t taken;

static void take(int signal)
{
	taken++;
}

static void others(void)
{
	pthread_t threads[THREADS];
	start(threads, THREADS, call_once_only);
	printf("once %ld\n", join(threads, THREADS));
	signal(SIGUSR1, take);
	start(threads, 1, wait_for_ever);
	for (int i = 0; i < 20; i++) {
		int before = taken;
		pthread_kill(threads[0], SIGUSR1);
		while (taken == before)
			sched_yield();
	}
	pthread_cancel(threads[0]);
	join(threads, 1);
	printf("signals %d\n", (int)taken);
	struct sched_param parameters = { .sched_priority = 5 };
	int policy;
	int set = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters);
	pthread_getschedparam(pthread_self(), &policy, &parameters);
	printf("policy %d %d %d\n", set, policy, parameters.sched_priority);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		start(threads, 2, call_once_only);
		printf("in the child %ld\n", join(threads, 2));
		exit(3);
	}
	int status;
	waitpid(child, &status, 0);
	printf("child %d\n", WEXITSTATUS(status));
}

int main(void)
{
	creation();
	conditions();
	mutexes();
	cancellation();
	data();
	robust();
	barriers();
	read_write_locks();
	semaphores();
	timers();
	others();
	return 0;
}
