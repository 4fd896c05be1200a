# Threads, locks and queues: futexes, clone, joining, thread-local storage.
import concurrent.futures, queue, threading, time

lock, counter = threading.Lock(), 0
def count():
    global counter
    for _ in range(2000):
        with lock:
            counter += 1
threads = [threading.Thread(target=count) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("counted", counter)

items, results = queue.Queue(maxsize=4), []
def consume():
    while (item := items.get()) is not None:
        results.append(item * item)
        items.task_done()
consumers = [threading.Thread(target=consume) for _ in range(3)]
for thread in consumers: thread.start()
for number in range(200): items.put(number)
items.join()
for _ in consumers: items.put(None)
for thread in consumers: thread.join()
print("squares", sum(results))

with concurrent.futures.ThreadPoolExecutor(5) as pool:
    print("pool", sum(pool.map(lambda number: number * 3, range(100))))
    done, rest = concurrent.futures.wait([pool.submit(pow, 2, n) for n in range(20)])
    print("futures", sorted(future.result() for future in done)[-1], len(rest))

barrier, order = threading.Barrier(4), []
def meet(number):
    for turn in range(5):
        barrier.wait()
        order.append(turn)
        barrier.wait()
threads = [threading.Thread(target=meet, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("barrier", order == sorted(order), len(order))

event, condition, ready = threading.Event(), threading.Condition(), []
def wait_for_it():
    event.wait()
    with condition:
        ready.append(threading.get_native_id() != threading.main_thread().native_id)
        condition.notify_all()
threads = [threading.Thread(target=wait_for_it) for _ in range(6)]
for thread in threads: thread.start()
event.set()
with condition:
    print("condition", condition.wait_for(lambda: len(ready) == 6, 20), all(ready))
for thread in threads: thread.join()

slots, most, now = threading.BoundedSemaphore(2), 0, 0
def enter():
    global most, now
    with slots:
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock: now -= 1
threads = [threading.Thread(target=enter) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("semaphore", most <= 2, now)

local = threading.local()
def keep(number, kept):
    local.value = number
    time.sleep(0.001)
    kept.append(local.value == number)
kept = []
threads = [threading.Thread(target=keep, args=(n, kept)) for n in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("local", all(kept), hasattr(local, "value"))

started = time.monotonic()
print("timeouts", lock.acquire(timeout=1), lock.acquire(timeout=0.05), threading.Event().wait(0.05))
print("waited", 0.09 < time.monotonic() - started < 5)
lock.release()
late = []
timer = threading.Timer(0.01, late.append, ["fired"])
timer.start(); timer.join()
print("timer", late, threading.active_count())
