#!/usr/bin/python3
"""Goal: by the schema alone, a foreign client reads our frames and we read its frames; samples.toml agrees with the
schema. Method: Python code that flatc generates from schema.fbs builds and reads the samples of protocol/samples.toml,
by the names in flatc's JSON Schema; nothing here knows an opcode. protocol_vectors.json keeps the frames: the frames of
our codec (protocol_vectors_test.cpp), and Python's. Python's accessors do not verify.

As a test (prints TAP):   protocol_samples.py --flatc flatc --generated FOLDER
What `samples` builds:    protocol_samples.py --flatc flatc --generated FOLDER --renew PROTOCOL_VECTORS_PROGRAM
"""

import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys
import textwrap
import tomllib
import unittest
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROTOCOL = ROOT / 'protocol'
VECTORS = HERE / 'protocol_vectors.json'
RENEW = 'run `tools/build dev samples`'
KEPT = f'a frame that was released stays; delete the entry of another one from {VECTORS.name}, and {RENEW}'
USUAL = {'transaction_id': str(uuid.UUID(bytes=b'\x11' * 16)), 'timestamp': 1_700_000_000_000_000_000}
REFERENCE = '#/definitions/protocol_fbs_'

sys.path.insert(0, str(ROOT / 'tests' / 'support'))
try:
    import flatbuffers
except ImportError:
    print('1..0 # SKIP python3-flatbuffers is not installed')
    sys.exit(0)

OPCODES = tomllib.loads((PROTOCOL / 'samples.toml').read_text())
TYPES = {}   # from flatc: tables, structs and enums by name


def generated(name):
    return vars(__import__(f'protocol.fbs.{name}', fromlist=[name]))


def is_bytes(spec):
    return spec.get('items', {}).get('maximum') == 255


def to_python(spec, value):
    """Converts a value of samples.toml, or of a vector, for the generated code."""
    if '$ref' not in spec:
        if spec['type'] == 'integer':
            return int(value)
        if spec['type'] == 'array':
            return list(value.encode()) if isinstance(value, str) else [to_python(spec['items'], one) for one in value]
        return value
    name = spec['$ref'].removeprefix(REFERENCE)
    if 'enum' in TYPES[name]:
        return enumerators(name)[value] if isinstance(value, str) else value
    if name == 'UUID' and isinstance(value, str):
        value = {f'b{index}': byte for index, byte in enumerate(uuid.UUID(value).bytes)}
    result = generated(name)[name + 'T']()
    for (field, kind), attribute in zip(TYPES[name]['properties'].items(), list(vars(result))):
        if field in value:
            setattr(result, attribute, to_python(kind, value[field]))
    unknown = set(value) - set(TYPES[name]['properties'])
    if unknown:
        raise ValueError(f'{name} has no field {unknown}')
    return result


def from_python(spec, value):
    """The reverse, in the form of vectors: all fields, 64 bits as decimal text, bytes as hex; absent: empty or nil."""
    if '$ref' not in spec:
        if spec['type'] == 'integer':
            return str(value) if spec['maximum'] > 1 << 53 else int(value)
        if spec['type'] == 'array':
            value = [] if value is None else value
            return bytes(value).hex() if is_bytes(spec) else [from_python(spec['items'], one) for one in value]
        if spec['type'] == 'string':
            return value if isinstance(value, str) else (value or b'').decode()
        return bool(value) if spec['type'] == 'boolean' else value
    name = spec['$ref'].removeprefix(REFERENCE)
    if 'enum' in TYPES[name]:
        return next((text for text, number in enumerators(name).items() if number == value), int(value))
    if name == 'UUID':
        return str(uuid.UUID(bytes=bytes(vars(value).values()) if value else bytes(16)))
    return value and {
        field: from_python(kind, one)
        for (field, kind), one in zip(TYPES[name]['properties'].items(), vars(value).values())}


def enumerators(name):
    """The numbers by their names in the schema: Python's generated names end in _ where they are keywords."""
    return {text.rstrip('_'): number for text, number in vars(generated(name)[name]).items() if text[0] != '_'}


def reference(name):
    return {'$ref': REFERENCE + name}


def pack(name, value, size_prefixed=False):
    builder = flatbuffers.Builder(256)
    root = to_python(reference(name), value).Pack(builder)
    (builder.FinishSizePrefixed if size_prefixed else builder.Finish)(root)
    return bytes(builder.Output())


def unpack(name, data):
    root, = struct.unpack_from('<I', data)
    return from_python(reference(name), generated(name)[name + 'T'].InitFromBuf(data, root))


class Sample:
    def __init__(self, opcode, name):
        entry = OPCODES[opcode]
        self.name, self.number, self.table = name, entry['number'], entry.get('payload')
        self.payload = entry['samples'][name]
        self.message = USUAL | {'opcode': self.number} | entry.get('message', {}).get(name, {})
        if self.table and self.table.endswith('Event'):
            del self.message['transaction_id']

    def build(self):
        """The frames that Python builds, one for each of the two ways to put the size before a Message."""
        payload = pack(self.table, self.payload) if self.table else self.payload.encode()
        message = self.message | {'payload': list(payload)}
        by_hand = pack('Message', message)
        return {'size_prefixed': pack('Message', message, True).hex(),
                'size_by_hand': (struct.pack('<I', len(by_hand)) + by_hand).hex()}

    def read(self, digits):
        """The content of a frame: envelope and payload."""
        frame = bytes.fromhex(digits)
        if struct.unpack_from('<I', frame)[0] != len(frame) - 4:
            raise ValueError('the size is wrong')
        message = unpack('Message', frame[4:])
        payload = bytes.fromhex(message.pop('payload'))
        return message, unpack(self.table, payload) if self.table else {'raw': payload.hex()}

    def meaning(self):
        """The content that its frames must have."""
        spec = reference('Message')
        message = from_python(spec, to_python(spec, self.message))
        del message['payload']
        if not self.table:
            return message, {'raw': self.payload.encode().hex()}
        spec = reference(self.table)
        return message, from_python(spec, to_python(spec, self.payload))

    def vector(self, frames):
        message, payload = self.meaning()
        del message['opcode']
        return {'name': self.name, 'opcode': self.number, 'table': self.table, 'message': message, 'payload': payload,
                'hex': frames.get('hex'), 'python': frames.get('python')}


def samples():
    return [Sample(opcode, name) for opcode, entry in OPCODES.items() for name in entry.get('samples', {})]


def kept():
    return {vector['name']: vector for vector in json.loads(VECTORS.read_text())['vectors']} if VECTORS.exists() else {}


# --- Generated documents

def fields_of(table):
    """The fields as "`channel`, `data`?": with types that are not obvious, and ? for fields that may be absent."""
    parts = []
    for field, spec in TYPES[table]['properties'].items():
        kind = spec.get('$ref', '').removeprefix(REFERENCE)
        if kind and 'enum' in TYPES[kind]:
            kind = ''
        if spec.get('type') == 'array' and not is_bytes(spec):
            kind = f'[{spec["items"].get("$ref", spec["items"].get("type")).removeprefix(REFERENCE)}]'
        optional = (kind or spec.get('type') in ('string', 'array')) and field not in TYPES[table].get('required', [])
        parts.append(f'`{field}`{"?" if optional else ""}{" " + kind if kind else ""}')
    return '{' + ', '.join(parts) + '}'


def opcode_rows():
    lines = ['| number | name | sent by | payload | answered by |', '|---|---|---|---|---|']
    for name, entry in sorted(OPCODES.items(), key=lambda one: one[1]['number']):
        payload = entry.get('payload')
        sender = 'client' if not payload or payload.endswith('Request') else 'server'
        answer = entry.get('answer', '' if payload else '`Error`, unsupported_opcode')
        if entry['number'] < 200:
            told = f'`{payload}`' if payload else 'not defined yet' if entry['number'] else ''
            sender = sender if entry['number'] else 'nobody'
            lines.append(f'| {entry["number"]} | `{name}` | {sender} | {told} | {answer} |'.replace('|  |', '| |'))
    return '\n'.join(lines) + '\n'


def payload_list():
    lines = []
    for entry in OPCODES.values():
        if 'payload' in entry:
            about = ' '.join(entry.get('about', '').split())
            text = f'- **{entry["payload"]}** {fields_of(entry["payload"])}: {about}.'
            lines += textwrap.wrap(text, 120, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False)
    return '\n'.join(lines) + '\n'


def vectors_page(vectors):
    lines = ['# Test vectors', '', *textwrap.wrap(
        'One frame of each kind, from its size to its last byte: frames that a client must be able to read, or may '
        'send. Our server sends exactly these bytes; other builders may lay out the same content differently. '
        '`tests/conformance/protocol_vectors.json` has the whole envelopes too, and the frames that Python builds. '
        'Transaction id 11…, trace id 22…, session 33….', 120), '',
        'Made from `samples.toml` by `tools/build dev samples`.']
    for vector in vectors:
        digits = vector['hex'] or ''
        payload = json.dumps(vector['payload'])
        lines += ['', f'**{vector["name"]}** (opcode {vector["opcode"]}): `{payload}`', '', '```']
        lines += [' '.join(digits[i:i + 8] for i in range(row, min(row + 64, len(digits)), 8))
                  for row in range(0, len(digits), 64)] + ['```']
    return '\n'.join(lines) + '\n'


def documents(frames):
    """The text of each generated file, by its path. `frames`: known frames by name, which do not change."""
    vectors = [sample.vector(frames.get(sample.name, {})) for sample in samples()]
    note = ('One frame of each kind. Bytes as hex, 64-bit numbers as decimal text, enumerators by name. `python`: '
            'frames that Python builds of the same content, in other layouts.')
    readme = (PROTOCOL / 'README.md').read_text()
    for section, text in ('opcodes', opcode_rows()), ('payloads', payload_list()):
        begin, end = f'<!-- {section}: from samples.toml -->\n\n', f'\n<!-- {section}: end -->'
        before, _, rest = readme.partition(begin)
        readme = before + begin + text + end + rest.partition(end)[2]
    return {VECTORS: json.dumps({'note': note, 'vectors': vectors}, indent=1) + '\n',
            PROTOCOL / 'vectors.md': vectors_page(vectors), PROTOCOL / 'README.md': readme}


def renew(program):
    """Writes the generated files. Existing frames do not change."""
    frames = kept()
    for sample in samples():
        frame = frames.setdefault(sample.name, {})
        if not frame.get('python'):
            frame['python'] = sample.build()
        if not frame.get('hex'):
            command = [program, '--lay', frame['python']['size_prefixed']]
            frame['hex'] = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().strip()
    for path, text in documents(frames).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print('renewed', path.relative_to(ROOT))


class ProtocolSamples(unittest.TestCase):
    def test_list_and_schema_have_the_same_opcodes(self):
        listed = {name: entry['number'] for name, entry in OPCODES.items() if entry['number'] < 200}
        self.assertEqual(listed, enumerators('Opcode'))

    def test_a_payload_is_a_table_of_the_schema_and_has_a_sample_and_a_text(self):
        tables = {name for name in TYPES if name.endswith(('Request', 'Reply', 'Event'))}
        self.assertEqual({entry['payload'] for entry in OPCODES.values() if 'payload' in entry}, tables)
        for name, entry in OPCODES.items():
            with self.subTest(name):
                self.assertLessEqual(entry.get('message', {}).keys(), entry.get('samples', {}).keys())
                if 'payload' in entry:
                    self.assertTrue(entry.get('samples'), 'no samples')
                    self.assertTrue(entry.get('about'), 'no text')
                    is_request = entry['payload'].endswith('Request')
                    from_client = entry['number'] <= 18 or 64 <= entry['number'] <= 127
                    self.assertEqual(is_request, from_client and name != 'Pong', 'the number says who sends it')
                    self.assertEqual('answer' in entry, is_request, 'a request has an answer')
        names = [sample.name for sample in samples()]
        self.assertEqual(len(names), len(set(names)), 'a name is there twice')

    def test_an_answer_names_opcodes_and_fields(self):
        for name, entry in OPCODES.items():
            fields = TYPES[entry['payload']]['properties'] if 'payload' in entry else {}
            for word in re.findall(r'`(\w+)`', entry.get('answer', '')):
                self.assertTrue(word in OPCODES or word in fields, f'{name}: {word}')

    def test_a_body_has_the_fields_of_its_table_in_their_order(self):
        text = re.sub(r' *//.*', '', (PROTOCOL / 'message.hpp').read_text())
        bodies = re.findall(r'struct (\w+) \{\n.*Opcode::(\w+);\n  using Table = fbs::(\w+);\n((?:  .*\n)*)\};', text)
        self.assertEqual(re.findall(r'apply\((\w+)\)', text), [body for body, *_ in bodies])
        for body, opcode, table, members in bodies:
            with self.subTest(body):
                self.assertEqual(table, OPCODES[opcode]['payload'])
                self.assertEqual(re.findall(r'(\w+)(?:\{\}| = .*)?;', members), list(TYPES[table]['properties']))

    def test_every_frame_says_in_python_what_the_list_says(self):
        frames = kept()
        for sample in samples():
            with self.subTest(sample.name):
                self.assertIn(sample.name, frames, RENEW)
                vector = frames[sample.name]
                for digits in vector['hex'], *vector['python'].values():
                    self.assertEqual(sample.read(digits), sample.meaning(), KEPT)

    def test_what_python_builds_says_what_the_list_says(self):
        # Not byte for byte: another version of the builder may lay fields out in another order.
        for sample in samples():
            with self.subTest(sample.name):
                for digits in sample.build().values():
                    self.assertEqual(sample.read(digits), sample.meaning())

    def test_documents_and_vectors_are_those_of_the_list(self):
        for path, text in documents(kept()).items():
            self.assertTrue(path.exists(), RENEW)
            self.assertEqual(path.read_text(), text, f'{path}: {RENEW}')

    def test_the_readme_names_every_error_code_with_its_number(self):
        text = (PROTOCOL / 'README.md').read_text()
        for name, number in enumerators('ErrorCode').items():
            row = f'| {number} | `{name}` |'
            self.assertTrue(row in text, f'the README lacks {row}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--flatc', default='flatc')
    parser.add_argument('--generated', required=True, help='folder for the generated Python code')
    parser.add_argument('--renew', metavar='PROGRAM', help='protocol_vectors, which lays our frames')
    arguments = parser.parse_args()
    for options in ['--python', '--gen-object-api'], ['--jsonschema']:
        subprocess.run([arguments.flatc, *options, '-o', arguments.generated, PROTOCOL / 'schema.fbs'], check=True)
    sys.path.insert(0, arguments.generated)
    generated('UUID')['CreateUuid'] = generated('UUID')['CreateUUID']   # flatc 2.0.8 calls it by the wrong name
    schema = json.loads((pathlib.Path(arguments.generated) / 'schema.schema.json').read_text())
    TYPES.update({name.removeprefix('protocol_fbs_'): kind for name, kind in schema['definitions'].items()})
    if arguments.renew:
        renew(arguments.renew)
    else:
        import tap
        tap.main()
