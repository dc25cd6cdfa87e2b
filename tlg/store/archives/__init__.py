"""Images inside archives: zip, tar (WebDataset) and Parquet. A member is `ARCHIVE#MEMBER`, read by ranges alone."""

from tlg.store.archives.addresses import ENDINGS, is_archive, member_address, names_archives, parted
from tlg.store.archives.members import Member, Place
from tlg.store.archives.reading import members, read_member

__all__ = [
    "ENDINGS",
    "Member",
    "Place",
    "is_archive",
    "member_address",
    "members",
    "names_archives",
    "parted",
    "read_member",
]
