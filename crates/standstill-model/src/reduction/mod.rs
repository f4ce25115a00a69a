pub(crate) mod explored;
pub(crate) mod footprint;
pub(crate) mod movers;
pub(crate) mod visibility;
