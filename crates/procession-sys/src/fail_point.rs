//! The mark of a place at which a test can make something happen. Relies on `fail_points` for what happens there.

/// A place at which a test can make something happen; nothing without the feature `fail-points`. See `fail_points`.
#[cfg(feature = "fail-points")]
#[macro_export]
macro_rules! fail_point {
    ($name:expr) => {
        $crate::fail_points::pass($name)
    };
}

/// A place at which a test can make something happen; nothing without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
#[macro_export]
macro_rules! fail_point {
    ($name:expr) => {
        let _: &str = $name;
    };
}
