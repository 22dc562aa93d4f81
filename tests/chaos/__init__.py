"""Chaos: a gateway on two machines is killed, stopped and cut off while it works, and the phones are the judge.

    python -m tests.chaos --seed 7 --messages 10000 --tenants 20 --kills 300

plan       what will be sent and what will strike: all of it from the seed
stage      the processes: PostgreSQL, a WhatsApp on loopback, two gateways, a callback receiver
traffic    callers with idempotency keys, and people who write from their phones
strikes    what is done to the processes, and when
facts      what was seen: by callers, on phones, in the books
judge      what is wrong with it: pure
run        one run from beginning to end
"""
