"""Files: into a table and out of one, as fast as the server takes and gives them."""

from dal.bulk.files.dialect import CsvDialect
from dal.bulk.files.dump import Writable
from dal.bulk.files.header import Columns
from dal.bulk.files.progress import FileProgress
from dal.bulk.files.source import Format, Readable
from dal.bulk.files.validation import Validate

__all__ = ["Columns", "CsvDialect", "FileProgress", "Format", "Readable", "Validate", "Writable"]
