//! UDP, TCP, TLS and WebSocket listeners, flows and their reuse, DNS.
