//! The domain of Ironhub.
