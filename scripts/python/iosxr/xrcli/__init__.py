"""The command line for scripts on the device: the helper is in `xrcli_helper`."""
