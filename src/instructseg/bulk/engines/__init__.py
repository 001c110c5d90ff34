"""What runs the shards of a bulk job: processes of this machine, or Ray actors on many machines."""
