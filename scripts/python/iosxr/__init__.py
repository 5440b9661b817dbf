"""On-box packages for device scripts, under the names that scripts import."""
