"""A real EPICS IOC with its shell: what the start script of a guide's IOC comes to. Its one record is the argument."""

import signal
import sys

from epicscorelibs import ioc

# As the shell of an IOC that is no Python program has it.
signal.signal(signal.SIGINT, signal.SIG_DFL)
with open("ioc.db", "w", encoding="ascii") as database:
    database.write('record(ai, "{}") {{ field(VAL, "5") }}\n'.format(sys.argv[1]))
ioc.start_ioc(database="ioc.db")
ioc.Com.iocsh(None)
