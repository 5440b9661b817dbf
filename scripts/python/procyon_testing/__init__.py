"""What authors of scripts test them with: a device of their own, in a folder, for as long as a test takes.

    def test_it_warns(procyon):
        procyon.cpu = 95
        run = procyon.run("cpu-watch.py", "90")
        assert run.status == "Executed" and "too busy" in run.output

    def test_it_looks_every_hour(procyon):
        name = procyon.on_event("hourly.py", "<timer><watchdog><value>3600</value></watchdog></timer>")
        procyon.advance(hours=1)
        assert "looked" in procyon.next_run(name).output

`procyon` is the fixture of the pytest plug-in that comes with this package; `procyon script lint FILE` and
`procyon script try FILE` are the same without pytest.
"""

from procyon_testing.device import App, Device, DeviceError, Run

__all__ = ["App", "Device", "DeviceError", "Run"]
