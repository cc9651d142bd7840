"""The REST API: HTTP, the JSON of requests and answers, and the routes between."""
