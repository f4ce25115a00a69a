//! The five properties, in words.

use standstill::Property;

/// What happens where `property` does not hold.
pub(crate) fn broken(property: Property) -> &'static str {
    match property {
        Property::Late => "a handler finds a queued call while its CPU is offline",
        Property::Lost => "a queued call never runs: its CPU died with it",
        Property::Spurious => "an IPI is taken on an offline CPU",
        Property::Outside => "a call from another CPU runs while its CPU is outside the online mask",
        Property::Frozen => "a call from another CPU runs while the machine is frozen",
    }
}
