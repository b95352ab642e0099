"""The messages that Unity's ML-Agents and a trainer exchange: our own schema, built at run time in a pool of its own.

What travels are field numbers and types, and the path of the one call; names do not. They follow the communicator of
ML-Agents, API 1.0.0 to 1.5.0 (Apache-2.0). No generated code: that binds itself to one version of protobuf. A pool of
its own: the official package, imported beside, keeps its messages.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

SERVICE, METHOD = "communicator_objects.UnityToExternalProto", "Exchange"
API = "1.5.0"           # the newest that we speak; it is backward compatible within 1
# Not surgrl's own version: package 1.0.8 plays without a trainer where it is told one above 0.25.
TRAINER = "0.20.0"
OK, QUIT = 200, 400     # status in a header
STEP, RESET = 0, 1      # command in an RlInput
CONTINUOUS = 1          # space of actions in a Brain of an API before 1.3
PNG = 1                 # compression of an Observation
# name:number:type, `*` for repeated, `|` for one of a choice. Enumerations travel as int32, and a map as its entries.
SCHEMA = """
Header        status:1:int32 message:2:string
Abilities     base:1:bool concatenated_png:2:bool channel_mapping:3:bool hybrid_actions:4:bool analytics:5:bool \
variable_length:6:bool groups:7:bool
Floats        data:1:float*
Observation   shape:1:int32* compression:2:int32 png:3:bytes| floats:4:Floats| mapping:5:int32* dimensions:6:int32* \
kind:7:int32 name:8:string
AgentInfo     reward:7:float done:8:bool max_step_reached:9:bool id:10:int32 action_mask:11:bool* \
observations:13:Observation* group:14:int32 group_reward:15:float
AgentInfos    value:1:AgentInfo*
InfosOf       key:1:string value:2:AgentInfos
AgentAction   old:1:float* value:4:float continuous:6:float* discrete:7:int32*
AgentActions  value:1:AgentAction*
ActionsOf     key:1:string value:2:AgentActions
ActionSpec    continuous:1:int32 discrete:2:int32 branches:3:int32* descriptions:4:string*
Brain         old_size:3:int32* old_descriptions:5:string* old_space:6:int32 name:7:string training:8:bool \
actions:9:ActionSpec
InitOutput    name:1:string api:2:string log_path:3:string brains:5:Brain* package:7:string abilities:8:Abilities
InitInput     seed:1:int32 api:2:string package:3:string abilities:4:Abilities areas:5:int32
RlOutput      agents:2:InfosOf* side_channel:3:bytes
RlInput       actions:1:ActionsOf* command:4:int32 side_channel:5:bytes
UnityOutput   rl:1:RlOutput init:2:InitOutput
UnityInput    rl:1:RlInput init:2:InitInput
UnityMessage  header:1:Header output:2:UnityOutput input:3:UnityInput
"""
PACKAGE = "surgrl.unity"


def described() -> descriptor_pb2.FileDescriptorProto:
    """SCHEMA as protobuf describes a file."""
    file = descriptor_pb2.FileDescriptorProto(name="surgrl/unity.proto", package=PACKAGE, syntax="proto3")
    field_kinds = descriptor_pb2.FieldDescriptorProto
    for line in SCHEMA.strip().splitlines():
        name, *entries = line.split()
        message = file.message_type.add(name=name)
        for entry in entries:
            field_name, number, kind = entry.rstrip("*|").split(":")
            field = message.field.add(name=field_name, number=int(number))
            field.label = field_kinds.LABEL_REPEATED if entry.endswith("*") else field_kinds.LABEL_OPTIONAL
            if kind[0].isupper():
                field.type, field.type_name = field_kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = getattr(field_kinds, f"TYPE_{kind.upper()}")
            if entry.endswith("|"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="content")
                field.oneof_index = 0
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(described().SerializeToString())


def message_class(name: str) -> type[Message]:
    """The class of one of SCHEMA's messages."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


UnityMessage = message_class("UnityMessage")
