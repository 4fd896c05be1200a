# Event loops, children, signals, readiness, mappings, descriptors.
import asyncio, fcntl, mmap, os, resource, select, signal, subprocess, tempfile, time

class Pipe:
    """A pipe's end, as asyncio's loop uses the ends of the socket pair that wakes it."""
    def __init__(self, descriptor):
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)
    def fileno(self): return self.descriptor
    def recv(self, size): return os.read(self.descriptor, size)
    def send(self, data): return os.write(self.descriptor, data)
    def close(self): os.close(self.descriptor)

class PipeLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on systems without sockets."""
    def _make_self_pipe(self):
        self._ssock, self._csock = map(Pipe, os.pipe())
        self._internal_fds += 1
        self._add_reader(self._ssock.fileno(), self._read_from_self)

async def pipeline():
    items, seen = asyncio.Queue(3), []
    async def produce():
        for number in range(20):
            await items.put(number)
            await asyncio.sleep(0)
        await items.put(None)
    async def consume():
        while (item := await items.get()) is not None: seen.append(item)
    await asyncio.gather(produce(), consume())
    print("asyncio", seen == list(range(20)))
    try: await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except asyncio.TimeoutError: print("timed out")
    print("threads", await asyncio.gather(*[asyncio.to_thread(pow, 2, n) for n in range(6)]))
    child = await asyncio.create_subprocess_exec("echo", "a child", stdout=subprocess.PIPE)
    print("child", await child.communicate(), child.returncode)
    got = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, got.set_result, "usr2")
    os.kill(os.getpid(), signal.SIGUSR2)
    print("signal", await got)
with asyncio.Runner(loop_factory=PipeLoop) as runner: runner.run(pipeline())

print("run", subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
print("input", subprocess.run(["sort", "-r"], input="a\nc\nb\n", text=True, capture_output=True).stdout.split())
first = subprocess.Popen(["echo", "piped"], stdout=subprocess.PIPE)
print("piped", subprocess.check_output(["tr", "a-z", "A-Z"], stdin=first.stdout), first.wait())
try: subprocess.run(["sleep", "60"], timeout=0.05)
except subprocess.TimeoutExpired: print("child timed out")
print("killed", subprocess.run(["sh", "-c", "kill -SEGV $$"]).returncode == -signal.SIGSEGV)
try: subprocess.run(["/no/such/program"])
except FileNotFoundError as error: print("missing", error.errno)

caught = []
signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(signal.Signals(number).name))
signal.signal(signal.SIGALRM, lambda number, frame: caught.append("alarm"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 0.02)
while len(caught) < 2: time.sleep(0.01)
print("caught", caught)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
print("pending", signal.sigpending(), signal.sigwait([signal.SIGUSR1]), signal.sigtimedwait([signal.SIGUSR1], 0.01))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])

near, far = os.pipe()
poller = select.poll()
poller.register(near, select.POLLIN)
print("poll", poller.poll(10), select.select([near], [far], [], 0)[1] == [far])
os.write(far, b"x")
epoll = select.epoll()
epoll.register(near, select.EPOLLIN)
print("ready", poller.poll(10) == [(near, select.POLLIN)], epoll.poll(1) == [(near, select.EPOLLIN)])
os.close(far)
os.read(near, 1)
print("hung up", poller.poll(10) == [(near, select.POLLHUP)])

with tempfile.TemporaryFile() as file:
    file.write(b"0123456789" * 1000); file.flush()
    with mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5:8] = b"abc"
        print("mapped", len(mapped), mapped.find(b"abc"), os.pread(file.fileno(), 4, 5))
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("locked", fcntl.fcntl(file, fcntl.F_GETFD))
with mmap.mmap(-1, 8192) as mapped:
    child = os.fork()
    if child == 0:
        mapped[0:5] = b"child"
        os._exit(7)
    print("forked", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), mapped[0:5])
print("rusage", resource.getrusage(resource.RUSAGE_SELF).ru_utime > 0)
print("affinity", sorted(os.sched_getaffinity(0)) == list(range(os.cpu_count())), os.sched_getscheduler(0))
