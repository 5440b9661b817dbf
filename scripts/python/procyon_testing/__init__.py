"""What authors of scripts test them with: a device of their own, in a folder, for as long as a test takes.

    def test_it_warns(procyon):
        procyon.cpu = 95
        run = procyon.run("cpu-watch.py", "90")
        assert run.status == "Executed" and "too busy" in run.output

`procyon` is the fixture of the pytest plug-in that comes with this package; `procyon script lint FILE` and
`procyon script try FILE` are the same without pytest.
"""

from procyon_testing.device import Device, DeviceError, Run

__all__ = ["Device", "DeviceError", "Run"]
