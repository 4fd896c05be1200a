# Processes and what they share: POSIX semaphores and shared memory in /dev/shm, pipes, fork and spawn.
import multiprocessing as mp, os, signal, sys
from multiprocessing import shared_memory

def square(number): return number * number
def fill(items, numbers):
    for number in numbers: items.put((number, os.getppid()))
def add(lock, value, times):
    for _ in range(times):
        with lock: value.value += 1
def upper(words, answers):
    while (word := words.recv()) is not None: answers.send(word.upper())
def write(name, place):
    memory = shared_memory.SharedMemory(name)
    memory.buf[place * 1000:(place + 1) * 1000] = bytes([place + 1]) * 1000
    memory.close()
def wait_and_exit(event, status):
    event.wait()
    sys.exit(status)

if __name__ == "__main__":
    with mp.Pool(3) as pool:
        print("pool", pool.map(square, range(20)))
        print("unordered", sum(pool.imap_unordered(square, range(50), chunksize=5)))
        print("async", pool.apply_async(square, (12,)).get(60))

    items = mp.Queue()
    parts = [mp.Process(target=fill, args=(items, range(n, 60, 3))) for n in range(3)]
    for part in parts: part.start()
    got = [items.get(timeout=60) for _ in range(60)]
    for part in parts: part.join()
    print("queue", sorted(number for number, _ in got) == list(range(60)), {parent for _, parent in got} == {os.getpid()})

    lock, value = mp.Lock(), mp.Value("i", 0, lock=False)
    parts = [mp.Process(target=add, args=(lock, value, 200)) for _ in range(4)]
    for part in parts: part.start()
    for part in parts: part.join()
    print("lock", value.value, [part.exitcode for part in parts])

    # One-way pipes: two-way ones are socket pairs.
    (there, send), (receive, back) = mp.Pipe(duplex=False), mp.Pipe(duplex=False)
    part = mp.Process(target=upper, args=(there, back))
    part.start()
    for word in ("one", "two" * 10000):
        send.send(word)
        print("pipe", len(receive.recv()))
    send.send(None)
    part.join()

    memory = shared_memory.SharedMemory(create=True, size=4000)
    print("shared", os.path.exists("/dev/shm/" + memory.name))
    parts = [mp.Process(target=write, args=(memory.name, n)) for n in range(4)]
    for part in parts: part.start()
    for part in parts: part.join()
    print("written", [bytes(memory.buf).count(n) for n in range(1, 5)])
    memory.close(); memory.unlink()
    print("unlinked", os.path.exists("/dev/shm/" + memory.name))

    event = mp.Event()
    parts = [mp.Process(target=wait_and_exit, args=(event, n)) for n in range(3)]
    for part in parts: part.start()
    event.set()
    for part in parts: part.join()
    print("event", [part.exitcode for part in parts])
    part = mp.Process(target=wait_and_exit, args=(mp.Event(), 0))
    part.start(); part.terminate(); part.join()
    print("terminated", part.exitcode == -signal.SIGTERM)

    spawned = mp.get_context("spawn")
    part = spawned.Process(target=wait_and_exit, args=(event_ := spawned.Event(), 5))
    part.start(); event_.set(); part.join()
    print("spawned", part.exitcode)
