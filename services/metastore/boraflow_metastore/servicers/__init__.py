"""The gRPC services, one module each: they check requests and put the parts together."""
