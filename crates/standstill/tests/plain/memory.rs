//! What ports for tests and benches have in common. A macro, as `zero_cost.rs` compiles one of them by itself.

/// Words, pointers and cells as on a real machine.
macro_rules! plain_memory {
    ($port:ty) => {
        // SAFETY: the CPU's own atomics, its fence, and plain memory.
        unsafe impl ::standstill::platform::Memory for $port {
            type Word = ::core::sync::atomic::AtomicUsize;
            type Ptr<T: 'static> = ::core::sync::atomic::AtomicPtr<T>;
            type Cell<T: ::standstill::platform::Datum> = ::standstill::platform::PlainCell<T>;
            fn fence(&self) {
                ::core::sync::atomic::fence(::core::sync::atomic::Ordering::SeqCst);
            }
        }
    };
}
