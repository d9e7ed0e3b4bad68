//! The relay by itself: what it promises of every byte, without an engine.

mod support;

mod relay {
    mod carrying;
    mod process;
    mod stand;
    mod waking;
}
