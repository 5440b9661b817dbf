//! YANG data: schema, trees, paths and values (RFC 7950). The only folder that names libyang.

pub mod value;
