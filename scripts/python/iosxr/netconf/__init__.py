"""NETCONF for scripts on the device: the client is in `netconf_lib`."""
