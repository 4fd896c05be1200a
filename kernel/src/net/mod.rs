//! Placeholder until the room's owner writes it.
