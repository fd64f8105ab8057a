//! Wrong drivers.
