//! Storage traits with memory, SQLite and PostgreSQL back ends.
