"""The engines that run transforms: Sail (embedded), local Spark, any Spark Connect address."""
