"""A typed client of TensorFlow Serving's API: `RestClient` and `GrpcClient`, one interface."""
