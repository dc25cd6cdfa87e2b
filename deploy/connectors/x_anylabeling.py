from fastapi import APIRouter


def router(config, service):
    return APIRouter()
