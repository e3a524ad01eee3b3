"""How every process of Boraflow speaks gRPC: channels, servers, tokens, TLS and errors. Knows no DAG."""
