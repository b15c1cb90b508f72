"""HTTP in, HTTP out: one file a resource; what the answers mean stands in service and domain."""
