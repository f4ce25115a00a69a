//! What ports for tests and benches have in common. A macro, as `zero_cost.rs` compiles one of them by itself.

/// A scheduler that lets no CPU leave.
macro_rules! nobody_leaves {
    ($port:ty) => {
        // SAFETY: 1. `vacate` never returns `Ok`. 2. `only_idle_left` is never true. 3. There are no device interrupts.
        unsafe impl ::standstill::platform::Sched for $port {
            fn evict(&self, _: ::standstill::CpuId) {}
            fn readmit(&self, _: ::standstill::CpuId) {}
            fn vacate(&self, _: ::standstill::CpuId) -> Result<(), ::standstill::platform::Vacate> {
                Err(::standstill::platform::Vacate::Nowhere)
            }
            fn occupied(&self, _: ::standstill::CpuId) -> Option<&'static str> {
                None
            }
            fn only_idle_left(&self) -> bool {
                false
            }
            fn park_threads(&self, _: ::standstill::CpuId) {}
            fn unpark_threads(&self, _: ::standstill::CpuId) {}
            fn aim_lines_away(&self, _: ::standstill::CpuId) -> Result<(), ::standstill::hotplug::Reason> {
                Ok(())
            }
            fn lines_left(&self, _: ::standstill::CpuId) -> Result<(), ::standstill::hotplug::Reason> {
                Ok(())
            }
            fn lines_back(&self, _: ::standstill::CpuId) {}
            fn runs(&self, _: ::standstill::CpuId) -> ::standstill::platform::Runs {
                ::standstill::platform::Runs { what: "the only thread", irqs_off_at: None }
            }
        }
    };
}
