"""Where ML Metadata keeps what the runs did: a SQLite file, or a PostgreSQL server."""

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from pipeline.settings.config import Config


def connection_config(config: Config) -> metadata_store_pb2.ConnectionConfig:
    """Returns how to connect.

    It goes into the compiled pipeline and so holds no password: libpq, which connects, takes that
    from `PGPASSWORD` or from the file that `PGPASSFILE` names (`~/.pgpass`), see
    https://www.postgresql.org/docs/15/libpq-envars.html.
    """
    settings = config.metadata
    if settings.host is None:
        return sqlite_metadata_connection_config(str(config.metadata_path))
    connection = metadata_store_pb2.ConnectionConfig()
    connection.postgresql.host = settings.host
    connection.postgresql.port = str(settings.port)
    connection.postgresql.dbname = settings.database
    connection.postgresql.user = settings.user
    return connection
