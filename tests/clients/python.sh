# Debian's python3, unmodified. Two-way pipes of multiprocessing and asyncio's own wake-up are socket pairs and do without here.
#packages: python3
#limit: 100
#: threads
python3 /files/threads.py
#: processes
python3 /files/processes.py
#: events
python3 /files/events.py
