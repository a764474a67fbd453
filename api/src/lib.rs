//! HTTP: management, admin API, WebSocket entry.
