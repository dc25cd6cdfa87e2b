"""`parquet`: mask rows alone, a file a shard. A job's own output has its shards and needs no others."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from jobs.output import lease, shards
from jobs.output.formats.protocol import ExportFormat
from jobs.output.selection import Exported, Selection
from tlg import store
from tlg.answers import records
from tlg.errors import SpecError


class MaskRows(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        """What an earlier, larger export left is removed."""
        base, access = answers.base, answers.access
        if store.listed(f"{store.parent(base)}/{lease.FOLDER}", "*.json", access):
            raise SpecError(f"--to {base}: lies in the output of a job; choose a folder elsewhere")
        written: list[str] = []
        dropped = {"absent": 0, "error": 0}
        for index in answers.catalogue.shards:
            masks = []
            for table in answers.tables(records.SCHEMA.names, [index]):
                for status in dropped:
                    dropped[status] += pc.sum(pc.equal(table["status"], status)).as_py() or 0
                masks.append(table.filter(pc.equal(table["status"], "mask")))
            if sum(map(len, masks)):
                written.append(f"{base}/{shards.shard_name(len(written) + 1)}")
                store.write(written[-1], shards.encode(shards.in_order(pa.concat_tables(masks))), access)
        for shard in shards.committed_in(base, access):
            if shard.number > len(written):
                store.delete(shard.uri, access)
        remark = f"masks only: {dropped['absent']:,} absent and {dropped['error']:,} error rows are left out"
        return Exported(written, remark)

    def update(self, answers: Selection, name: str) -> Exported:
        return Exported([])
