//! Shared memory: what `core::sync::atomic` has, and plain cells.

use crate::X86;
use crate::kernel::Kernel;

standstill::platform::native_memory!(X86<K>, K: Kernel);
