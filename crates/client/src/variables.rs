//! The variables that the client reads.

/// Every variable that is a setting of the client.
pub const VARIABLES: [&str; 12] = [
    "CONTROLLER_URL",
    "BAKERY_TOKEN",
    "BAKERY_INSECURE",
    "LOG_FORMAT",
    "NO_COLOR",
    "S3_ENDPOINT",
    "S3_REGION",
    "S3_BUCKET",
    "S3_SSL",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "S3_SESSION_TOKEN",
];

/// Default of `CONTROLLER_URL`.
pub(crate) const LOCAL_URL: &str = "http://127.0.0.1:3000";
