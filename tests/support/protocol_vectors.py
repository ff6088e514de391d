"""Writes the frames of protocol_vectors.json as inputs of a build: a list for C++, which protocol_vectors.hpp includes,
and seeds of protocol_fuzz, one file each, with a list of their names.

Use: protocol_vectors.py VECTORS LIST SEED_NAMES SEED_FOLDER
"""

import json
import pathlib
import shutil
import sys

source, listed, names, folder = map(pathlib.Path, sys.argv[1:])
vectors = json.loads(source.read_text())['vectors']
listed.write_text(''.join(
    f'{{"{vector["name"]}", {vector["opcode"]}, "{vector["table"] or ""}", "{vector["hex"]}",\n  {{'
    + ', '.join(f'"{digits}"' for digits in vector['python'].values()) + '}},\n' for vector in vectors))

shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
seeds = []
for vector in vectors:
    for layout, digits in {'ours': vector['hex'], **vector['python']}.items():
        # The first byte is the target's choice of an address and of the size of pieces.
        seed = folder / f'{vector["name"]}-{layout}'
        seed.write_bytes(bytes([len(seeds) * 37 % 256]) + bytes.fromhex(digits))
        seeds.append(str(seed.resolve()))
names.write_text(','.join(seeds))
